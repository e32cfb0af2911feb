import { setTimeout as sleep } from 'node:timers/promises';
import type { LineStatus } from '../../contract/domain.ts';
import { AppError } from '../../contract/errors.ts';
import { decimalNumber } from './context.ts';
import { UsageError } from './output.ts';
import { stationCommand, type At, type ServedOption, type StationGroup } from './station-command.ts';

const told = ({ stationId, state, modelId, parts, ok, ng, unsure, latencyMsP99, problem }: LineStatus): string =>
  [
    // A line that stands has none loaded, which says nothing about the station's active one.
    `${stationId}: ${state}${state === 'stopped' ? '' : `, ${modelId ?? 'no model'}`}; ${parts} parts: ${ok} ok, ${ng} ng, ${unsure} unsure; p99 ${latencyMsP99.toFixed(1)} ms`,
    ...(problem ? [`${problem.message} ${problem.nextAction}`] : []),
  ].join('\n');

interface StartOptions extends ServedOption {
  seconds?: number;
}

/**
 * Keeps this process, whose child the line is, until the time is over or Ctrl-C; then the line stops.
 * @returns how it stood before
 * @throws what was wrong with a line that was in fault then
 */
async function keepRunning({ context, client, station }: At, seconds: number | undefined): Promise<LineStatus> {
  const { out } = context;
  const lost = new AbortController();
  client.onClose(() => lost.abort());
  const signal = AbortSignal.any([context.signal, lost.signal]);
  const stop = client.on('line.changed', (status) => {
    if (status.stationId === station.id) out.progress(told(status));
  });
  const longest = 2 ** 31 - 1;
  for (let left = (seconds ?? Infinity) * 1000; left > 0 && !signal.aborted; left -= longest)
    await sleep(Math.min(left, longest), undefined, { signal }).catch(() => {});
  stop();
  const last = await client.call('line.status', { stationId: station.id });
  await client.call('line.stop', { stationId: station.id });
  if (last.state === 'fault' && last.problem) throw AppError.fromWire({ ...last.problem, ref: 'cli' });
  return last;
}

/** The line of a station. */
export const lineCommands: StationGroup = {
  name: 'line',
  description: 'inspect at a station',
  commands: [
    stationCommand({
      usage: 'status',
      description: 'how the line stands',
      signsIn: false,
      run:
        () =>
        ({ client, station }) =>
          client.call('line.status', { stationId: station.id }),
      text: told,
    }),
    stationCommand({
      usage: 'start',
      description:
        'start the line; with --served it goes on there, else it inspects here until Ctrl-C, and what it counted is printed',
      signsIn: true,
      withOptions: (command) =>
        command.option('--seconds <s>', 'without --served: stop after so long', decimalNumber(1, 1e9)),
      run({ served = false, seconds }: StartOptions) {
        if (served && seconds !== undefined) throw new UsageError('--seconds with --served', 'stop it with line stop');
        return async (at) => {
          const started = await at.client.call('line.start', { stationId: at.station.id });
          return served ? started : keepRunning(at, seconds);
        };
      },
      text: told,
    }),
    stationCommand({
      usage: 'stop',
      description: 'stop the line',
      signsIn: true,
      run:
        () =>
        ({ client, station }) =>
          client.call('line.stop', { stationId: station.id }),
      text: told,
    }),
  ],
};
