import { resolve } from 'node:path';
import type { Command } from 'commander';
import { graphInfo, readModelFile } from '../../onnx/index.ts';
import { signIn } from './accounts.ts';
import { installedBackbones, SIDECAR_HELP, tellAssumed } from './backbone-option.ts';
import { withCore } from './core-client.ts';
import type { Action, Context } from './context.ts';
import { format } from './output.ts';

/** Backbones and plain ONNX files. */
export function addModelCommands(program: Command, action: Action): void {
  const backbones = program.command('backbones').description('pre-trained feature extractors');
  backbones.action(
    action(async (context: Context) => {
      const list = await installedBackbones(context);
      context.out.result({ backbones: list }, () =>
        format.table([
          ['id', 'MMACs', 'features', 'px', 'source'],
          ...list.map((b) => [b.id, (b.macs / 1e6).toFixed(0), b.features, b.inputSize, b.source]),
        ]),
      );
    }),
  );
  backbones
    .command('add <file>')
    .description(`check an ONNX model and add it to the data folder; ${SIDECAR_HELP}`)
    .option('--features <names>', 'outputs that make up the features, comma-separated')
    .option('--user <name>', 'account (default: the only one)')
    .action(
      action(async (context: Context, file: string, options: { features?: string; user?: string }) => {
        await withCore(context, async (client) => {
          await signIn(context, client, options.user);
          const features = options.features?.split(',').filter(Boolean);
          const added = await client.call('backbones.add', { file: resolve(file), ...(features ? { features } : {}) });
          tellAssumed(added);
          const list = await client.call('backbones.list', {});
          context.out.result(
            { added, backbones: list },
            () => `${added.id}: ${added.features} features at ${added.inputSize} px.`,
          );
        });
      }),
    );

  program
    .command('graph')
    .description('ONNX files as data')
    .command('info <file>')
    .action(
      action(async (context: Context, file: string) => {
        const info = graphInfo(readModelFile(file));
        context.out.result(info, () => JSON.stringify(info, null, 2));
      }),
    );
}
