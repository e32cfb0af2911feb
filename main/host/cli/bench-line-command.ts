import { availableParallelism } from 'node:os';
import { type Command, Option } from 'commander';
import { assert } from '../../contract/errors.ts';
import { makeBenchHome } from '../line-bench/bench-home.ts';
import { driveLine, type DriveResult } from '../line-bench/drive-line.ts';
import { slope } from '../line-bench/figures.ts';
import { decimalNumber, wholeNumber, type Action, type Context } from './context.ts';
import { chooseModel } from './inspect-commands.ts';
import { EXIT, format } from './output.ts';
import { inTemporaryFolder } from './temporary-folder.ts';

interface LineOptions {
  rate: number;
  trainer: 'busy' | 'idle';
  deadlineMs: number;
  size: number;
  station?: string;
  demo?: boolean;
}

/** Memory is judged after so long: until then caches and the ring fill. */
const WARM_UP_SHARE = 0.2;

/** `bench line` and `soak`: a line process of its own under triggers. Joins `bench`, which addInspectCommands makes. */
export function addBenchLineCommands(program: Command, action: Action, exitWith: (code: number) => void): void {
  const common = (command: Command): Command =>
    command
      .option('--rate <n>', 'triggers per second', decimalNumber(0.1, 1000), 20)
      .addOption(
        new Option('--trainer <state>', 'whether the trainer works meanwhile')
          .choices(['busy', 'idle'])
          .default('idle'),
      )
      .option('--deadline-ms <ms>', 'later verdicts are unsure: late', decimalNumber(20, 60_000), 150)
      .option('--size <px>', 'side of the frames', wholeNumber(32, 4096), 512)
      .option('--station <id>', 'whose model (default: the only one)')
      .option('--demo', 'with a small model of the simulated line, in an empty data folder');

  common(
    program.commands
      .find((command) => command.name() === 'bench')!
      .command('line')
      .description('a line process under triggers of the simulated camera')
      .option('--seconds <s>', 'how long', decimalNumber(0.5, 1_000_000), 30),
  ).action(
    action(async (context: Context, options: LineOptions & { seconds: number }) => {
      const { result } = await drive(context, options, options.seconds);
      context.out.result(result, (r) => format.table(rows(r)));
    }),
  );

  common(
    program
      .command('soak')
      .description('a line process under triggers for long, with the memory watched; fails if a trigger has no answer')
      .option('--minutes <m>', 'how long', decimalNumber(0.05, 1_000_000), 10),
  ).action(
    action(async (context: Context, options: LineOptions & { minutes: number }) => {
      const { result, samples } = await drive(context, options, options.minutes * 60);
      const settled = samples.slice(Math.floor(WARM_UP_SHARE * samples.length));
      const rss = {
        startBytes: samples[0]?.rssBytes ?? null,
        settledBytes: settled[0]?.rssBytes ?? null,
        endBytes: samples.at(-1)?.rssBytes ?? null,
        maxBytes: result.rssBytes,
        slopeBytesPerMinute: Math.round(
          slope(settled.map(({ second, rssBytes }) => ({ x: second / 60, y: rssBytes }))),
        ),
        samples: samples.length,
      };
      context.out.result({ ...result, rss }, (r) =>
        format.table([...rows(r), ['memory per minute', `${(r.rss.slopeBytesPerMinute / 1e6).toFixed(2)} MB`]]),
      );
      if (result.unanswered > 0) exitWith(EXIT.failed);
    }),
  );
}

async function drive(context: Context, options: LineOptions, seconds: number) {
  const model = await chooseModel(context, {
    ...(options.demo === undefined ? {} : { demo: options.demo }),
    ...(options.station === undefined ? {} : { station: options.station }),
  });
  const { stationId, bundleDir } = model;
  assert(stationId !== null, 'the active model is that of a station');
  const samples: { second: number; rssBytes: number }[] = [];
  const result = await inTemporaryFolder('line-bench', async (folder) =>
    driveLine({
      ...(await makeBenchHome(folder, context.home, bundleDir)),
      stationId,
      rate: options.rate,
      seconds,
      trainer: options.trainer,
      threads: context.threads,
      trainerThreads: Math.max(1, availableParallelism() - context.threads),
      deadlineMs: options.deadlineMs,
      size: options.size,
      signal: context.signal,
      onProgress: context.out.progress,
      onSample: (sample) => void samples.push(sample),
    }),
  );
  return { result, samples };
}

const rows = (r: DriveResult): [string, string][] => [
  ['parts', `${r.parts} in ${r.seconds.toFixed(1)} s`],
  ['verdicts', `${r.verdicts}: ${r.ok} ok, ${r.ng} ng, ${r.unsure} unsure`],
  ['late', String(r.late)],
  ['refused, dropped, unanswered', `${r.refused}, ${r.dropped}, ${r.unanswered}`],
  ['latency p50, p99', `${r.latencyMsP50.toFixed(1)}, ${r.latencyMsP99.toFixed(1)} ms`],
  ['memory', `${(r.rssBytes / 1e6).toFixed(0)} MB`],
];
