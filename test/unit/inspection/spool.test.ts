import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openSpool } from '../../../main/inspection/spool.ts';
import { spoolRecord as record } from '../../helpers/spool-record.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'mekiki-spool-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const open = (acknowledged = 0) => openSpool({ dir, stationId: 'st', acknowledged });
const file = () => join(dir, 'st.ndjson');
const write = (from: number, to: number) => {
  using spool = open();
  for (let seq = from; seq <= to; seq += 1) spool.append(record(seq));
};
const kept = (after = 0, acknowledged = 0) => {
  using spool = open(acknowledged);
  return { seqs: [...spool.after(after)].flat().map((r) => r.seq), last: spool.lastSeq, lost: spool.lostRecords };
};

test('what was appended is there again, with its picture, and the numbering goes on', () => {
  write(1, 3);
  {
    using spool = open();
    expect(spool.lastSeq).toBe(3);
    spool.noteImage(2, 'c'.repeat(64));
  }
  using spool = open();
  expect([...spool.after(1)].flat()).toEqual([{ ...record(2), imageSha: 'c'.repeat(64) }, record(3)]);
  expect(spool.lostRecords).toBe(0);
});

test('a torn last line is cut off, its number is never given again, and the gap is counted once', () => {
  write(1, 3);
  truncateSync(file(), readFileSync(file()).length - 20);
  expect(kept()).toEqual({ seqs: [1, 2], last: 3, lost: 1 });
  expect(readFileSync(file(), 'utf8').endsWith('\n')).toBe(true);
  {
    using spool = open();
    spool.append(record(4));
  }
  expect(kept()).toEqual({ seqs: [1, 2, 4], last: 4, lost: 1 });
  expect(kept()).toEqual({ seqs: [1, 2, 4], last: 4, lost: 1 });
});

test('a tail of zeros, as a power cut leaves it, is a gap; a torn note about a picture is none', () => {
  write(1, 3);
  appendFileSync(file(), Buffer.alloc(500));
  expect(kept()).toMatchObject({ seqs: [1, 2, 3], last: 4, lost: 1 });
  rmSync(dir, { recursive: true });
  write(1, 3);
  appendFileSync(file(), '{"image":3,"sha":"cc');
  expect(kept()).toEqual({ seqs: [1, 2, 3], last: 3, lost: 0 });
});

test('a line in the middle that cannot be read is a gap', () => {
  write(1, 4);
  const text = readFileSync(file(), 'utf8');
  const [second] = /\{"seq":2,.*/.exec(text)!;
  writeFileSync(file(), text.replace(second, second.slice(0, 30)));
  expect(kept()).toEqual({ seqs: [1, 3, 4], last: 4, lost: 1 });
});

test('a record that an older piece has too hides no gap', () => {
  writeFileSync(file(), '{"spool":1,"after":3,"lost":0}\n');
  appendFileSync(file(), [3, 4, 6].map((seq) => `${JSON.stringify(record(seq))}\n`).join(''));
  expect(kept()).toEqual({ seqs: [3, 4, 6], last: 6, lost: 1 });
});

test('the core knows more than the spool: the numbering goes on above both', () => {
  write(1, 3);
  expect(kept(0, 10)).toEqual({ seqs: [1, 2, 3], last: 10, lost: 0 });
  rmSync(dir, { recursive: true });
  expect(kept(0, 25)).toEqual({ seqs: [], last: 25, lost: 0 });
  using spool = open(25);
  spool.append(record(26));
  expect([...spool.after(25)].flat().map((r) => r.seq)).toEqual([26]);
});

test('pieces: turned at a size, deleted when acknowledged, bounded when nobody acknowledges', () => {
  const note = ['x'.repeat(40_000)];
  const turned: string[] = [];
  {
    using spool = openSpool({ dir, stationId: 'st', acknowledged: 0, onTurn: (path) => turned.push(path) });
    for (let seq = 1; seq <= 120; seq += 1) spool.append(record(seq, note));
    expect(turned.length).toBeGreaterThanOrEqual(3);
    spool.noteImage(1, 'd'.repeat(64));
    expect([...spool.after(0)].flat().map((r) => r.seq)).toEqual(Array.from({ length: 120 }, (_, i) => i + 1));
    expect([...spool.after(0)].flat()[0]!.imageSha).toBe('d'.repeat(64));
    spool.acknowledge(60);
    expect([...spool.after(60)].flat()).toHaveLength(60);
  }
  const before = readdirSync(dir).length;
  {
    using spool = open(120);
    spool.acknowledge(120);
    expect(readdirSync(dir).length).toBeLessThan(before);
    expect(readdirSync(dir)).toEqual(['st.ndjson']);
    // 64 pieces of 1 MiB are kept, whatever happens.
    for (let seq = 121; seq <= 2000; seq += 1) spool.append(record(seq, note));
    expect(readdirSync(dir).length).toBeLessThanOrEqual(64);
    expect(spool.lostRecords).toBeGreaterThan(0);
    expect([...spool.after(0)].flat().length + spool.lostRecords).toBe(1880);
  }
  const { last, lost } = kept(1999);
  expect(last).toBe(2000);
  expect(lost).toBeGreaterThan(0);
});

test('what is read again comes in short steps and in order, whatever is done with the spool between two of them', () => {
  const note = ['x'.repeat(1_000)];
  using spool = open();
  // Turned somewhere in between, with parts out of order at each turn.
  for (let seq = 1; seq <= 6_000; seq += 2) for (const n of [seq + 1, seq]) spool.append(record(n, note));
  spool.noteImage(4_000, 'e'.repeat(64));
  const pieces = readdirSync(dir).length;
  expect(pieces).toBeGreaterThan(5);
  const slices = [...spool.after(10)];
  expect(Math.max(...slices.map((slice) => slice.length))).toBeLessThanOrEqual(200);
  expect(slices.length).toBeGreaterThan(6_000 / 200 + pieces);
  expect(slices.flat().map(({ seq }) => seq)).toEqual(Array.from({ length: 5_990 }, (_, i) => 11 + i));
  expect(slices.flat().find(({ seq }) => seq === 4_000)!.imageSha).toBe('e'.repeat(64));

  const told: number[] = [];
  let steps = 0;
  for (const slice of spool.after(10)) {
    told.push(...slice.map(({ seq }) => seq));
    // Enough for the piece that is written to be turned; then the first ones are acknowledged.
    if ((steps += 1) === 1) for (let n = 6_001; n <= 7_200; n += 1) spool.append(record(n, note));
    if (steps === 2) spool.acknowledge(3_000);
  }
  expect(readdirSync(dir).length).toBeLessThan(pieces);
  expect(told).toEqual([...told].sort((a, b) => a - b));
  expect(told.filter((seq) => seq > 3_000 && seq <= 6_000)).toHaveLength(3_000);
});

test('what is read again is read no further than it is asked for, and its picture is known wherever it was noted', () => {
  const note = ['x'.repeat(1_000)];
  {
    using spool = open();
    for (let seq = 1; seq <= 4_000; seq += 1) spool.append(record(seq, note));
    spool.noteImage(3, 'f'.repeat(64));
  }
  using spool = open();
  spool.noteImage(4, 'a'.repeat(64));
  const pieces = readdirSync(dir).sort();
  expect(pieces.length).toBeGreaterThan(3);
  for (const name of pieces.slice(2)) rmSync(join(dir, name));
  const told = [];
  for (const slice of spool.after(2)) if (told.push(...slice) >= 200) break;
  expect(told.slice(0, 3).map(({ seq, imageSha }) => [seq, imageSha?.[0]])).toEqual([
    [3, 'f'],
    [4, 'a'],
    [5, undefined],
  ]);
});

test('a kill while a piece is turned loses nothing, and what was not whole is no piece', () => {
  write(1, 3);
  truncateSync(file(), readFileSync(file()).length - 20);
  renameSync(file(), join(dir, 'st.00000001.ndjson'));
  writeFileSync(`${file()}.tmp`, '{"spool":1,"after":3,"lost":1}\n');
  expect(kept()).toEqual({ seqs: [1, 2], last: 3, lost: 1 });
  expect(readdirSync(dir).sort()).toEqual(['st.00000001.ndjson', 'st.ndjson']);
  write(4, 5);
  expect(kept()).toEqual({ seqs: [1, 2, 4, 5], last: 5, lost: 1 });
});

/** Mounts a disk of 4 MiB and 64 names; null: this account may not. */
function smallDisk(): Disposable | null {
  try {
    const options = 'size=4m,nr_inodes=64';
    execFileSync('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', dir], { stdio: 'pipe' });
    return { [Symbol.dispose]: () => void execFileSync('umount', ['-l', dir], { stdio: 'pipe' }) };
  } catch {
    return null;
  }
}
const filler = (n: number) => join(dir, `filler-${n}`);
/** What the disk lacks: room, and names. */
const fills = {
  'no room': () => appendFileSync(filler(0), Buffer.alloc(2 ** 23)),
  'no name': () => {
    for (let n = 0; n <= 64; n += 1) writeFileSync(filler(n), '');
  },
};
const fill = (lack: keyof typeof fills) => expect(fills[lack]).toThrow(/ENOSPC/);
const isFiller = (name: string) => name.startsWith('filler-');
const makeRoom = () =>
  readdirSync(dir)
    .filter(isFiller)
    .forEach((name) => rmSync(join(dir, name)));
const spooled = () => readdirSync(dir).filter((name) => !isFiller(name));

describe.each(['no room', 'no name'] as const)('a disk with %s for a new piece', (lack) => {
  test('keeps the one that is there, and goes on with it when there is room', (at) => {
    using disk = smallDisk();
    at.skip(disk === null, 'this account may not mount a small disk');
    {
      using spool = open();
      let seq = 0;
      while (readFileSync(file()).length < 2 ** 20) spool.append(record((seq += 1), ['x'.repeat(40_000)]));
      expect(seq).toBe(27);
      fill(lack);
      for (const refused of [28, 29]) expect(() => spool.append(record(refused))).toThrow(/ENOSPC/);
      expect(spooled()).toEqual(['st.ndjson']);
      makeRoom();
      spool.append(record(30));
      expect(spooled()).toEqual(['st.00000001.ndjson', 'st.ndjson']);
      expect([...spool.after(26)].flat().map((r) => r.seq)).toEqual([27, 30]);
    }
    expect(kept(26)).toEqual({ seqs: [27, 30], last: 30, lost: 2 });
  });

  test('is found as it was by each start, and what was torn is a gap in the end', (at) => {
    using disk = smallDisk();
    at.skip(disk === null, 'this account may not mount a small disk');
    write(1, 3);
    truncateSync(file(), readFileSync(file()).length - 20);
    const before = readFileSync(file());
    fill(lack);
    const handles = () => readdirSync('/proc/self/fd').length;
    const opened = handles();
    for (let start = 0; start < 70; start += 1) expect(open).toThrow(/ENOSPC/);
    expect(handles()).toBe(opened);
    expect(spooled()).toEqual(['st.ndjson']);
    expect(readFileSync(file())).toEqual(before);
    makeRoom();
    expect(kept()).toEqual({ seqs: [1, 2], last: 3, lost: 1 });
  });
});

test('a station id is no path', () => {
  using spool = openSpool({ dir: join(dir, 'spool'), stationId: '../../evil', acknowledged: 0 });
  spool.append(record(1));
  expect(readdirSync(dir)).toEqual(['spool']);
  expect(readdirSync(join(dir, 'spool'))).toHaveLength(1);
});
