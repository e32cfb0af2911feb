import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import { signalAddressSchema } from '../../contract/domain.ts';
import { mapDocument, mapMarkdown } from '../../lineio/map-document.ts';
import { openSignalReader } from '../../lineio/signal-reader.ts';
import { registerMap, signalNames, type SignalName, type SignalValue } from '../../lineio/register-map.ts';
import { wholeNumber, type Action } from './context.ts';
import { table, UsageError } from './output.ts';

interface MapOptions {
  lay?: string[];
}
interface WatchOptions extends MapOptions {
  address: string;
  port: number;
  count?: number;
  everyMs: number;
}

/** The line output for whoever connects a PLC. Neither needs a home, an account or a stopped line. */
export function addLineioCommands(program: Command, action: Action): void {
  const lineio = program.command('lineio').description('the line output (Modbus TCP)');
  lineio
    .command('map')
    .description('the register map, as Markdown or (--json) as data')
    .option('--lay <signal=address...>', 'signals that the station lays elsewhere')
    .action(
      action(async ({ out }, options: MapOptions) => {
        out.result(mapDocument(addressesOf(options)), mapMarkdown);
      }),
    );
  lineio
    .command('watch')
    .description('the signals of a line output as they change; reads only; Ctrl-C ends it')
    .option('--address <ip>', 'where the line output listens', '127.0.0.1')
    .option('--port <n>', 'its port', wholeNumber(1, 65_535), 502)
    .option('--lay <signal=address...>', 'signals that the station lays elsewhere')
    .option('--every-ms <ms>', 'between two looks', wholeNumber(10, 60_000), 100)
    .option('--count <n>', 'looks; without it until Ctrl-C', wholeNumber(1, 1_000_000_000))
    .action(
      action(async ({ out, signal }, options: WatchOptions) => {
        const { address, port, everyMs } = options;
        using reader = await openSignalReader({ address, port, addresses: addressesOf(options) });
        let signals: Record<SignalName, SignalValue> | null = null;
        let changes = 0;
        for (let n = 0; n < (options.count ?? Infinity) && !signal.aborted; n += 1) {
          if (n > 0) await sleep(everyMs, undefined, { signal }).catch(() => {});
          if (signal.aborted) break;
          const now = await reader.read();
          const changed = signalNames.filter((name) => signals !== null && told(name) && signals[name] !== now[name]);
          signals = now;
          changes += changed.length;
          for (const name of changed) process.stderr.write(`${stamp()} ${name} ${String(now[name])}\n`);
        }
        out.result({ address, port, changes, signals }, () =>
          signals === null
            ? ''
            : table(signalNames.map((name) => [name, registerMap[name].area, String(signals![name])])),
        );
      }),
    );
}

/** The heartbeat alone is no news. */
const told = (name: SignalName): boolean => name !== 'heartbeat' && name !== 'heartbeatCounter';
const stamp = (): string => new Date().toISOString().slice(11, 23);

function addressesOf({ lay = [] }: MapOptions): Record<string, number> {
  return Object.fromEntries(
    lay.map((wish) => {
      const [, name, address] = /^(\w+)=(\d+)$/.exec(wish) ?? [];
      if (name === undefined) throw new UsageError('--lay', `"${wish}" is not SIGNAL=ADDRESS`);
      const parsed = signalAddressSchema.safeParse(Number(address));
      if (!parsed.success) throw new UsageError('--lay', `no station may lay ${name} at ${address}`);
      return [name, parsed.data];
    }),
  );
}
