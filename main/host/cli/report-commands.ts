import { extname, resolve } from 'node:path';
import { Option } from 'commander';
import { csvText } from '../../contract/csv.ts';
import type { MethodOutput } from '../../contract/methods.ts';
import { periods, rangeOf, rangeProblem, type Period } from '../../contract/report-period.ts';
import { classNames } from './classes.ts';
import { isoTime } from './context.ts';
import { format, UsageError, writeOut } from './output.ts';
import { stationCommand, type ServedOption, type StationGroup } from './station-command.ts';

type Cells = (string | number)[];

interface ReportOptions extends ServedOption {
  period: Period;
  from?: number;
  to?: number;
  out?: string;
}

type Summary = Omit<MethodOutput<'reports.summary'>, 'ngByClass'> & {
  stationId: string;
  from: string;
  to: string;
  ngByClass: { classId: string | null; className: string; parts: number }[];
};

const HOUR_MS = 3_600_000;
/** Hours are what is counted: those that the range touches. */
const wholeHours = (from: number, to: number): { from: string; to: string } => ({
  from: new Date(Math.floor(from / HOUR_MS) * HOUR_MS).toISOString(),
  to: new Date(Math.ceil(to / HOUR_MS) * HOUR_MS).toISOString(),
});

/** @throws UsageError for half a range, and for one that is none or too long */
function rangeAsked({ period, from, to }: ReportOptions): { from: string; to: string } {
  if (from === undefined && to === undefined) return rangeOf(period, new Date());
  if (from === undefined || to === undefined) throw new UsageError('--from, --to', 'give both, or --period');
  if (from >= to) throw new UsageError('--from, --to', 'from is not before to');
  const range = wholeHours(from, to);
  const problem = rangeProblem(range);
  if (problem !== null) throw new UsageError('--from, --to', problem);
  return range;
}

const estimates = ({ escape, overkill }: Summary): Cells[] => [
  ['estimate', 'wrong', 'of', 'low', 'high'],
  ...Object.entries({ escape, overkill }).map(([name, { wrong, parts, low, high }]) => [name, wrong, parts, low, high]),
];
const classes = ({ ngByClass }: Summary): Cells[] => [
  ['class', 'parts'],
  ...ngByClass.map(({ className, parts }) => [className, parts]),
];

/** Hours rather than the window's days: those of this PC's time zone are not those of whoever reads the file. */
const tables = (summary: Summary): Cells[] => [
  ['hour', 'parts', 'OK', 'NG', 'unsure'],
  ...summary.hours.map(({ at, ok, ng, unsure }) => [at, ok + ng + unsure, ok, ng, unsure]),
  [],
  ...classes(summary),
  [],
  ...estimates(summary),
];

const writers: Readonly<Record<string, (summary: Summary) => string>> = {
  '.csv': (summary) => csvText(tables(summary)),
  '.json': (summary) => `${JSON.stringify(summary, null, 2)}\n`,
};

/** @throws UsageError before anything is asked for */
function writerFor(file: string): (summary: Summary) => string {
  const writer = writers[extname(file).toLowerCase()];
  if (!writer) throw new UsageError('--out', `name it ${Object.keys(writers).join(' or ')}`);
  return writer;
}

/** Counts of a station's archive. */
export const reportCommands: StationGroup = {
  name: 'reports',
  description: 'what a line has judged',
  commands: [
    stationCommand({
      usage: 'summary',
      description: 'counts by the hour (UTC) and by class, and what labels say of escapes and overkill',
      signsIn: false,
      withOptions: (command) =>
        command
          .addOption(
            new Option('--period <name>', 'up to the running hour').choices(Object.keys(periods)).default('week'),
          )
          .option(
            '--from <time>',
            'instead of a period, with --to: 2026-05-01T06:00, by the whole hours that it touches; 400 days at most',
            isoTime,
          )
          .option('--to <time>', 'see --from', isoTime)
          .option('--out <file>', 'write it there, as .csv or .json'),
      run(options: ReportOptions) {
        const file = options.out === undefined ? null : resolve(options.out);
        const write = file === null ? null : writerFor(file);
        const range = rangeAsked(options);
        return async ({ client, station }) => {
          const nameOf = await classNames(client);
          const { ngByClass, ...counts } = await client.call('reports.summary', { stationId: station.id, ...range });
          const named = ngByClass.map((each) => ({ ...each, className: nameOf(each.classId) }));
          const summary: Summary = { stationId: station.id, ...range, ...counts, ngByClass: named };
          if (write && file !== null) await writeOut(file, write(summary));
          return { ...summary, file };
        };
      },
      text({ file, ...summary }) {
        const sum = (of: 'ok' | 'ng' | 'unsure') => summary.hours.reduce((total, hour) => total + hour[of], 0);
        const [ok, ng, unsure] = [sum('ok'), sum('ng'), sum('unsure')];
        const totals = `${ok + ng + unsure} parts: ${ok} ok, ${ng} ng, ${unsure} unsure`;
        return [
          `${summary.from} to ${summary.to}: ${totals}`,
          format.table(classes(summary)),
          format.table(estimates(summary)),
          ...(file === null ? [] : [`Written: ${file}`]),
        ].join('\n');
      },
    }),
  ],
};
