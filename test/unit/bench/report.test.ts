import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { readResults, valuesAt, type ResultsFile } from '../../bench/report/results.ts';
import { sections, type Section } from '../../bench/report/sections.ts';
import { reportOf } from '../../bench/report/write-report.ts';

const folder = fileURLToPath(new URL('../../bench/results/', import.meta.url));
const file = (name: string, result: unknown): ResultsFile => ({
  name,
  command: `node test/bench/${name}.ts a|b`,
  commit: '0123456789abcdef',
  changed: false,
  at: '2026-01-02T03:04:05.000Z',
  machine: { cpu: 'a CPU', cores: 2 },
  result,
});
const rowsOf = (markdown: string): string[][] =>
  markdown
    .split('\n')
    .filter((line) => /^\| (?!what|---|file)/.test(line))
    .map((line) =>
      line
        .split(/(?<!\\)\|/)
        .slice(1, -1)
        .map((cell) => cell.trim()),
    );

describe('the report of the benches', () => {
  test('every figure and chart that it asks for is in its results file', () => {
    const { missing, drawings, markdown } = reportOf(readResults(folder), sections, folder);
    expect(missing).toEqual([]);
    for (const svg of drawings.values()) expect(svg).not.toMatch(/NaN|undefined|Infinity/);
    expect(markdown).not.toMatch(/NaN|undefined/);
  });

  test('no two rows say the same of the same', () => {
    const names = reportOf(readResults(folder), sections, folder)
      .markdown.split(/^## /m)
      .flatMap((part) => rowsOf(part).map(([what, of]) => `${part.split('\n')[0]}: ${what} | ${of}`));
    expect(names.filter((name, i) => names.indexOf(name) !== i)).toEqual([]);
  });

  test('values are found by keys, stars and the chosen element of a list', () => {
    const result = {
      sets: {
        a: {
          best: 'y',
          list: [
            { id: 'x', v: 1 },
            { id: 'y', v: 2 },
          ],
        },
        b: { best: null, list: [{ id: 'x', v: 3 }] },
      },
    };
    expect(valuesAt(result, 'sets.*.list[best].v')).toEqual([{ keys: ['a'], value: 2 }]);
    expect(valuesAt(result, 'sets.*.list.length').map(({ value }) => value)).toEqual([2, 1]);
    expect(valuesAt(result, 'sets.c.v')).toEqual([]);
  });

  const section: Section = {
    title: 'T',
    text: 'x',
    figures: [
      { what: 'fast', file: 'one', path: 'fast.*', unit: 'times', atLeast: 2 },
      { what: 'late', file: 'one', path: 'late', unit: 'count', atMost: 'asked.late' },
      { what: 'gone', file: 'one', path: 'gone', unit: 'ms' },
    ],
    charts: [{ kind: 'bars', file: 'one', title: '<b> & more', unit: 'times', value: 'fast.*', line: 2 }],
  };

  test('what was reached is held against what was asked; what is not there is named', () => {
    const { markdown, missing, drawings } = reportOf(
      [file('one', { fast: { a: 2, b: 1.99 }, late: 3, asked: { late: 2 } })],
      [section],
      folder,
    );
    expect(rowsOf(markdown)).toEqual([
      ['fast', 'a', '2.00 x', 'at least 2.00 x', 'yes', '[one](one.json)'],
      ['fast', 'b', '1.99 x', 'at least 2.00 x', '**no**', '[one](one.json)'],
      ['late', '', '3', 'at most 2', '**no**', '[one](one.json)'],
      [
        '[one](one.json)',
        '01234567',
        '2026-01-02',
        'a CPU, 2 cores',
        '`node main/host/build/launch.mjs test/bench/one.ts a\\|b`',
      ],
    ]);
    expect(missing).toEqual(['T: gone (one.json, gone)']);
    expect(drawings.get('chart-one.svg')).toContain('&lt;b&gt; &amp; more');
  });

  test('of files that tell the same of the same the newest counts; what tells others apart is named', () => {
    const run = (name: string, at: string, backbone: string, drop: number, sets: Record<string, number>) => ({
      ...file(name, { backbone: { id: backbone }, drop, sets }),
      at,
    });
    const { markdown } = reportOf(
      [
        run('run-1pp', '2026-01-01', 'small', 1, { a: 3 }),
        run('run-2pp', '2026-01-01', 'small', 2, { a: 5, b: 6 }),
        run('run-2pp-a', '2026-01-02', 'small', 2, { a: 7 }),
      ],
      [
        {
          title: 'T',
          text: 'x',
          figures: [
            { what: 'fast', file: 'run-*', path: 'sets.*', unit: 'times', of: '{backbone.id}, {drop} pp allowed' },
          ],
          charts: [],
        },
      ],
      folder,
    );
    expect(rowsOf(markdown).slice(0, -3)).toEqual([
      ['fast', 'small, 1 pp allowed, a', '3.00 x', '', '', '[run-1pp](run-1pp.json)'],
      ['fast', 'small, 2 pp allowed, b', '6.00 x', '', '', '[run-2pp](run-2pp.json)'],
      ['fast', 'small, 2 pp allowed, a', '7.00 x', '', '', '[run-2pp-a](run-2pp-a.json)'],
    ]);
  });
});
