import { readdirSync } from 'node:fs';
import { matchesGlob } from 'node:path';
import { drawBars, drawPoints } from './drawings.ts';
import { valuesAt, type ResultsFile } from './results.ts';
import type { Chart, Figure, Section, Unit } from './sections.ts';

/* The report: Markdown and drawings made of results files. Nothing is measured here, and no number comes from anywhere else. */

export interface Report {
  markdown: string;
  /** File name to SVG. */
  drawings: Map<string, string>;
  /** Figures and charts that their file does not have. */
  missing: string[];
  /** Files that have not been recorded. */
  unrecorded: string[];
}

interface Row {
  what: string;
  /** The keys of the value: a set, a method. */
  of: string;
  file: ResultsFile;
  reached: number;
  asked: { least: boolean; bound: number } | null;
  unit: Unit;
}

export function reportOf(results: readonly ResultsFile[], sections: readonly Section[], folder: string): Report {
  const drawings = new Map<string, string>();
  const missing: string[] = [];
  const unrecorded = new Set<string>();
  const note = (file: string, what: string): void => {
    if (filesOf(results, file).length === 0) unrecorded.add(file);
    else missing.push(what);
  };
  const parts = sections.map((section) => {
    const rows = section.figures.flatMap((figure) => {
      const found = newest(filesOf(results, figure.file).flatMap((file) => rowsOf(figure, file)));
      if (found.length === 0)
        note(figure.file, `${section.title}: ${figure.what} (${figure.file}.json, ${figure.path})`);
      return found;
    });
    const pictures = section.charts.flatMap((chart) => {
      const drawn = draw(chart, filesOf(results, chart.file));
      if (drawn.length === 0) note(chart.file, `${section.title}: ${chart.title} (${chart.file}.json)`);
      return drawn.map(({ name, svg }) => {
        drawings.set(`${name}.svg`, svg);
        return `${name}.svg`;
      });
    });
    const own = (section.drawings ?? []).flatMap((pattern) =>
      readdirSync(folder)
        .filter((name) => matchesGlob(name, pattern))
        .toSorted(),
    );
    return [
      `## ${section.title}`,
      section.text,
      rows.length === 0 ? '_Nothing recorded yet._' : tableOf(rows),
      ...[...pictures, ...own].map((name) => `![${name.replace('.svg', '')}](${name})`),
    ].join('\n\n');
  });
  const markdown = [
    '# Measured',
    'Written by `npm run bench -- --report` from the results files in this folder; nothing in it is typed by hand. _Asked_ is what the project asks of itself, also where it is not reached. Each file has the exact commit and machine; a star marks a run whose program differed from its commit.',
    ...parts,
    '## Where it comes from',
    sourcesOf(results),
  ].join('\n\n');
  return { markdown: `${markdown}\n`, drawings, missing, unrecorded: [...unrecorded] };
}

const filesOf = (results: readonly ResultsFile[], pattern: string): ResultsFile[] =>
  results.filter(({ name }) => matchesGlob(name, pattern));

function rowsOf(figure: Figure, file: ResultsFile): Row[] {
  const { atLeast, atMost } = figure;
  return valuesAt(file.result, figure.path).flatMap(({ keys, value }) => {
    if (typeof value !== 'number') return [];
    const bound = boundOf(file, atLeast ?? atMost, keys);
    return [
      {
        what: figure.what,
        of: [namedBy(file, figure.of), ...keys.map((key) => labelOf(file, figure.path, key))]
          .filter(Boolean)
          .join(', '),
        file,
        reached: value,
        asked: bound === null ? null : { least: atLeast !== undefined, bound },
        unit: figure.unit,
      },
    ];
  });
}

/** A run that was made again stands beside the older one, which it replaces. */
const newest = (rows: readonly Row[]): Row[] =>
  rows.filter((row) => !rows.some(({ of, file }) => of === row.of && file !== row.file && file.at > row.file.at));

const namedBy = (file: ResultsFile, of = ''): string =>
  of.replace(/\{([^}]+)\}/g, (_, path: string) => String(valuesAt(file.result, path)[0]?.value));

/** Keys of a list are positions, which tell nobody anything: what tells the elements apart there does. */
function labelOf(file: ResultsFile, path: string, key: string): string {
  if (!/^\d+$/.test(key)) return key;
  const [element] = valuesAt(file.result, path.split('*')[0]!.concat(key)).map(({ value }) => value);
  if (typeof element !== 'object' || element === null) return String(Number(key) + 1);
  return Object.entries(element)
    .slice(0, 2)
    .filter(([, value]) => typeof value !== 'object')
    .map(([name, value]) => (typeof value === 'string' ? value : `${name} ${value}`))
    .join(', ');
}

function boundOf(file: ResultsFile, bound: number | string | undefined, keys: readonly string[]): number | null {
  if (typeof bound !== 'string') return bound ?? null;
  const left = [...keys];
  const [found] = valuesAt(
    file.result,
    bound.replaceAll('*', () => left.shift() ?? '*'),
  );
  return typeof found?.value === 'number' ? found.value : null;
}

/** Equal up to the last digits of a sum that was taken in another order. */
const EQUAL = 1e-9;
const held = ({ asked, reached }: Row): string => {
  if (asked === null) return '';
  return (asked.least ? reached >= asked.bound - EQUAL : reached <= asked.bound + EQUAL) ? 'yes' : '**no**';
};

export function textOf(value: number, unit: Unit): string {
  switch (unit) {
    case 'share':
      return value.toFixed(3);
    case 'times':
      return `${value.toFixed(2)} x`;
    case 'pp':
      return `${value.toFixed(2)} pp`;
    case 'ms':
      return `${value.toFixed(value < 10 ? 2 : 0)} ms`;
    case 's':
      return `${value.toFixed(2)} s`;
    case 'MB':
      return `${(value / 1e6).toFixed(Math.abs(value) < 10e6 ? 2 : 0)} MB`;
    case 'relative':
      return value.toExponential(1);
    case 'per second':
      return `${Math.round(value).toLocaleString('en')}/s`;
    case 'count':
      return value.toLocaleString('en');
  }
}

const escaped = (text: string): string => text.replaceAll('|', '\\|').replaceAll('\n', ' ');
const table = (rows: readonly (readonly string[])[]): string =>
  rows
    .map((row, i) => `| ${row.map(escaped).join(' | ')} |${i === 0 ? `\n|${' --- |'.repeat(row.length)}` : ''}`)
    .join('\n');

const tableOf = (rows: readonly Row[]): string =>
  table([
    ['what', 'of', 'reached', 'asked', 'held', 'file'],
    ...rows.map((row) => [
      row.what,
      row.of,
      textOf(row.reached, row.unit),
      row.asked === null ? '' : `${row.asked.least ? 'at least' : 'at most'} ${textOf(row.asked.bound, row.unit)}`,
      held(row),
      `[${row.file.name}](${row.file.name}.json)`,
    ]),
  ]);

/** Under the Node that npm brought: a bench that was recorded with that one in the path fails under an older one. */
const BARE = /^node (?=test\/bench\/)/;
const LAUNCHED = 'node main/host/build/launch.mjs ';

const sourcesOf = (results: readonly ResultsFile[]): string =>
  table([
    ['file', 'commit', 'recorded', 'machine', 'command'],
    ...results.map(({ name, commit, changed, at, machine, command }) => [
      `[${name}](${name}.json)`,
      `${commit.slice(0, 8)}${changed ? '*' : ''}`,
      at.slice(0, 10),
      `${machine.cpu}, ${machine.cores} cores`,
      `\`${command.replace(BARE, LAUNCHED)}\``,
    ]),
  ]);

function draw(chart: Chart, files: readonly ResultsFile[]): { name: string; svg: string }[] {
  if (chart.kind === 'bars')
    return files.flatMap((file) => {
      const numbers = (path: string | undefined) =>
        path === undefined ? [] : valuesAt(file.result, path).map(({ value }) => Number(value));
      const [low, high] = [numbers(chart.low), numbers(chart.high)];
      const bars = valuesAt(file.result, chart.value).map(({ keys, value }, i) => ({
        label: keys.map((key) => labelOf(file, chart.value, key)).join(' '),
        value: Number(value),
        text: textOf(Number(value), chart.unit),
        low: low[i],
        high: high[i],
      }));
      return bars.length === 0
        ? []
        : [{ name: `chart-${file.name}`, svg: drawBars({ title: chart.title, bars, line: chart.line }) }];
    });
  const points = files.flatMap((file) =>
    valuesAt(file.result, chart.x.path).flatMap(({ keys, value: x }) => {
      const y = valuesAt(file.result, chart.y.path).find((each) => each.keys.join() === keys.join())?.value;
      return typeof x === 'number' && typeof y === 'number' ? [{ label: keys.join(' '), series: file.name, x, y }] : [];
    }),
  );
  if (points.length === 0) return [];
  const name = `chart-${chart.file.replace(/\*/g, '').replace(/-$/, '')}`;
  return [{ name, svg: drawPoints({ title: chart.title, points, xLabel: chart.x.label, yLabel: chart.y.label }) }];
}
