import type { Command } from 'commander';
import { ensureRenderer } from '../build/fresh.mjs';
import { serve } from '../serve.ts';
import { wholeNumber, type Action, type Context } from './context.ts';

/** Browser mode: the same window, in a browser on this PC. */
export function addServeCommand(program: Command, action: Action): void {
  program
    .command('serve')
    .description('serve the window to a browser on this PC')
    .option('--port <n>', 'port on 127.0.0.1; 0: any free one', wholeNumber(0, 65_535), 0)
    .option('--demo', 'a demonstration with the simulated line, in an empty data folder')
    .action(
      action(async (context: Context, options: { port: number; demo?: boolean }) => {
        // A fresh clone has no window yet.
        if (await ensureRenderer()) context.out.progress('built the window');
        const server = await serve({
          home: context.home,
          port: options.port,
          demo: options.demo === true,
          trainerThreads: context.threads,
        });
        context.out.result({ url: server.url, home: context.home }, () => `Mekiki is at ${server.url}`);
        if (!context.signal.aborted) {
          await new Promise<void>((done) => context.signal.addEventListener('abort', () => done(), { once: true }));
        }
        await server.close();
      }),
    );
}
