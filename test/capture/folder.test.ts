import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  closeSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { CameraFrame, CameraState } from '../../main/capture/camera.ts';
import { createFolderCamera, type FolderConfig } from '../../main/capture/folder/camera.ts';
import { openJournal } from '../../main/capture/folder/journal.ts';
import { cameraConfigSchema } from '../../main/contract/domain.ts';
import type { AppError } from '../../main/contract/errors.ts';
import { encodePng } from '../../main/vision/decode.ts';

/** Another volume, and a tool that tells what was flushed when. */
const mayTrace = (() => {
  try {
    execFileSync('strace', ['-o', '/dev/null', 'true'], { stdio: 'pipe' });
    return statSync('/dev/shm').dev !== statSync(tmpdir()).dev;
  } catch {
    return false;
  }
})();

let base: string;
let folder: string;
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'mekiki-folder-'));
  folder = join(base, 'in');
  mkdirSync(folder);
});
afterEach(() => rmSync(base, { recursive: true, force: true }));

const png = (value: number, side = 24) =>
  encodePng({ width: side, height: side, channels: 1, data: new Uint8Array(side * side).fill(value) });
const put = async (name: string, value: number) => writeFileSync(join(folder, name), await png(value));
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

async function watch(over: Partial<FolderConfig> = {}) {
  const frames: { source: string; grey: number; notes: string[] }[] = [];
  const rejected: { source: string; code: string }[] = [];
  const troubles: (AppError | null)[] = [];
  const states: CameraState[] = [];
  let room = true;
  /** Looks for room that found none. */
  let refusals = 0;
  const config = cameraConfigSchema.parse({ kind: 'folder', path: folder, pollMs: 50, ...over }) as FolderConfig;
  const camera = createFolderCamera(config, { cameraId: 'K1', journalFile: join(base, 'taken'), maxPixels: 10_000 });
  await camera.open(
    {
      offer(frame: CameraFrame) {
        frames.push({ source: frame.source, grey: frame.image.data[0]!, notes: frame.notes });
        return true;
      },
      async whenFree(signal) {
        for (; !room && !signal.aborted; refusals += 1) await pause(10);
      },
    },
    {
      onState: (state) => void states.push(state),
      onRejected: ({ source, problem }) => void rejected.push({ source, code: problem.code }),
      onTrouble: (problem) => void troubles.push(problem),
    },
  );
  return {
    frames,
    rejected,
    troubles,
    states,
    setRoom: (value: boolean) => (room = value),
    refusals: () => refusals,
    [Symbol.asyncDispose]: () => camera.dispose(),
  };
}
async function until(what: string, holds: () => boolean) {
  for (let waited = 0; !holds(); waited += 20) {
    if (waited > 120_000) throw new Error(`waited in vain until ${what}`);
    await pause(20);
  }
}

test('files are taken once, by name, with names of any script; again only when they are other pictures', async () => {
  await put('b 部品.png', 20);
  await put('a.png', 10);
  {
    await using seen = await watch();
    await until('two frames', () => seen.frames.length >= 2);
    expect(seen.frames).toEqual([
      { source: 'a.png', grey: 10, notes: [] },
      { source: 'b 部品.png', grey: 20, notes: [] },
    ]);
    utimesSync(join(folder, 'a.png'), new Date(), new Date());
    await put('b 部品.png', 20);
    // A file is taken after two polls: what lay there before has been looked at again by then.
    await put('z.png', 90);
    await until('a later file', () => seen.frames.length >= 3);
    expect(seen.frames[2]).toMatchObject({ source: 'z.png' });
    await put('a.png', 11);
    await until('the new picture', () => seen.frames.length >= 4);
    expect(seen.frames[3]).toMatchObject({ source: 'a.png', grey: 11 });
  }
  // Another start, the same files: the journal knows them.
  await using again = await watch();
  await put('c.png', 30);
  await until('the new file', () => again.frames.length >= 1);
  await put('d.png', 40);
  await until('a later file', () => again.frames.length >= 2);
  expect(again.frames.map((f) => f.source)).toEqual(['c.png', 'd.png']);
});

test('a file that is written slowly is taken when it is whole, and only then', async () => {
  await using seen = await watch();
  const bytes = await png(77, 90);
  const handle = openSync(join(folder, 'slow.png'), 'w');
  const step = Math.ceil(bytes.length / 8);
  for (let at = 0; at < bytes.length; at += step) {
    writeSync(handle, bytes.subarray(at, at + step));
    // Longer than two polls in the middle: its size looks stable, but it does not decode.
    await pause(at > 2 * step && at < 4 * step ? 180 : 30);
  }
  closeSync(handle);
  await until('the frame', () => seen.frames.length > 0);
  expect(seen.frames).toEqual([{ source: 'slow.png', grey: 77, notes: [] }]);
  expect(seen.rejected).toEqual([]);
});

test('what is no picture is told once, also after a restart; temporary names and folders are let be', async () => {
  writeFileSync(join(folder, 'readme.txt'), 'hello');
  writeFileSync(join(folder, 'empty.png'), '');
  writeFileSync(join(folder, 'big.png'), await png(1, 128));
  writeFileSync(join(folder, 'upload.tmp'), 'half');
  writeFileSync(join(folder, 'Thumbs.db'), 'small pictures of a Windows share');
  writeFileSync(join(folder, '.hidden.png'), await png(1));
  mkdirSync(join(folder, 'sub.png'));
  {
    await using seen = await watch();
    await until('three told', () => seen.rejected.length >= 3);
    await put('good.png', 5);
    await until('the good one', () => seen.frames.length >= 1);
    await put('later.png', 6);
    await until('a later one', () => seen.frames.length >= 2);
    expect(new Map(seen.rejected.map((r) => [r.source, r.code]))).toEqual(
      new Map([
        ['big.png', 'IMAGE_TOO_LARGE'],
        ['empty.png', 'IMAGE_UNREADABLE'],
        ['readme.txt', 'IMAGE_UNREADABLE'],
      ]),
    );
    expect(seen.rejected).toHaveLength(3);
    expect(seen.frames.map((f) => f.source)).toEqual(['good.png', 'later.png']);
  }
  await using again = await watch();
  // Told after five tries: the others have had theirs by then.
  writeFileSync(join(folder, 'z.txt'), 'no picture either');
  await until('the new one is told', () => again.rejected.length >= 1);
  expect([again.rejected.map((r) => r.source), again.frames]).toEqual([['z.txt'], []]);
});

test.skipIf(process.platform !== 'linux')(
  'a file whose name no program here can say is told once, also after a restart',
  async () => {
    // 部品.png in Shift_JIS, as on a share that is mounted without its character set.
    const name = Buffer.from([0x95, 0x94, 0x95, 0x69, 0x2e, 0x70, 0x6e, 0x67]);
    writeFileSync(Buffer.concat([Buffer.from(`${folder}/`), name]), await png(10));
    for (const value of [20, 30]) {
      await using seen = await watch({ after: 'move' });
      await put(`z${value}.png`, value);
      await until('the other', () => seen.frames.length > 0);
      if (value === 20) await until('it is told', () => seen.rejected.length > 0);
      // Told after five tries.
      writeFileSync(join(folder, 'z.txt'), 'no picture');
      await until('a later one is told', () => seen.rejected.some(({ source }) => source === 'z.txt'));
      expect(seen.rejected.map(({ source }) => source)).toEqual(
        value === 20 ? ['\ufffd\ufffd\ufffdi.png', 'z.txt'] : ['z.txt'],
      );
      expect(seen.troubles).toEqual([]);
    }
  },
);

test('move: out of the folder into done, where no name is taken twice; the same name and content counts again', async () => {
  await using seen = await watch({ after: 'move' });
  const done = join(base, 'done');
  for (let i = 0; i < 3; i += 1) {
    await put('part.png', 50);
    await until(`part ${i} is moved`, () => seen.frames.length > i && !existsSync(join(folder, 'part.png')));
  }
  expect(readdirSync(done).sort()).toEqual(['part (1).png', 'part (2).png', 'part.png']);
  writeFileSync(join(folder, 'odd.txt'), 'no picture');
  await until('the odd one is moved, too', () => existsSync(join(done, 'odd.txt')));
  expect(seen.rejected).toMatchObject([{ source: 'odd.txt' }]);
  // The done folder is away for one file: told, and over with the next.
  rmSync(done, { recursive: true });
  writeFileSync(done, '');
  await put('stays.png', 60);
  await until('it is told', () => seen.troubles.length > 0);
  rmSync(done);
  await put('moves.png', 70);
  await until('it is over', () => seen.troubles.length > 1);
  expect(seen.troubles).toEqual([expect.objectContaining({ code: 'CAMERA_CONFIG' }), null]);
  expect([readdirSync(folder), readdirSync(done)]).toEqual([['stays.png'], ['moves.png']]);
});

test('move: a picture that came under the name of one that waited for room is inspected, not moved away unseen', async () => {
  await using seen = await watch({ after: 'move' });
  seen.setRoom(false);
  await put('part.png', 50);
  await until('it waits for room', () => seen.refusals() > 0);
  await put('part.png', 60);
  seen.setRoom(true);
  await until('both are moved', () => seen.frames.length >= 2 && !existsSync(join(folder, 'part.png')));
  expect(seen.frames.map((f) => f.grey)).toEqual([50, 60]);
  expect(readdirSync(join(base, 'done'))).toEqual(['part.png']);
});

test('a picture that is written over while others are taken is not read half old and half new', async () => {
  // Uncompressed: any mixture of two of them decodes.
  const side = 8;
  const bitmap = (grey: number) => {
    const header = Buffer.alloc(54);
    header.write('BM');
    header.writeUInt32LE(54, 10);
    header.writeUInt32LE(40, 14);
    header.writeInt32LE(side, 18);
    header.writeInt32LE(-side, 22);
    header.writeUInt16LE(1, 26);
    header.writeUInt16LE(24, 28);
    return Buffer.concat([header, Buffer.alloc(3 * side * side, grey)]);
  };
  await put('a.png', 10);
  writeFileSync(join(folder, 'b.bmp'), bitmap(20));
  await using seen = await watch();
  seen.setRoom(false);
  await until('the first waits for room', () => seen.refusals() > 0);
  const handle = openSync(join(folder, 'b.bmp'), 'r+');
  const whole = bitmap(30);
  const half = Math.ceil(whole.length / 2);
  writeSync(handle, whole, half, whole.length - half, half);
  seen.setRoom(true);
  await until('the first', () => seen.frames.length > 0);
  writeSync(handle, whole, 0, half, 0);
  closeSync(handle);
  await put('c.png', 40);
  await until('a later one', () => seen.frames.some((f) => f.source === 'c.png'));
  expect(seen.frames.map((f) => [f.source, f.grey])).toEqual([
    ['a.png', 10],
    ['b.bmp', 30],
    ['c.png', 40],
  ]);
});

test('move: the file itself on one volume; a file behind a link is copied', async () => {
  await using seen = await watch({ after: 'move' });
  const moved = (name: string) => join(base, 'done', name);
  await put('part.png', 40);
  const { ino } = statSync(join(folder, 'part.png'));
  await until('it is moved', () => existsSync(moved('part.png')) && !existsSync(join(folder, 'part.png')));
  expect(statSync(moved('part.png')).ino).toBe(ino);
  writeFileSync(join(base, 'elsewhere.png'), await png(50));
  symlinkSync('../elsewhere.png', join(folder, 'linked.png'));
  await until('the link is gone', () => existsSync(moved('linked.png')) && !existsSync(join(folder, 'linked.png')));
  expect(lstatSync(moved('linked.png')).isFile()).toBe(true);
  expect(readFileSync(moved('linked.png'))).toEqual(readFileSync(join(base, 'elsewhere.png')));
  expect(seen.frames).toHaveLength(2);
});

test.skipIf(!mayTrace)(
  'a power cut takes no picture that is moved to another volume, and no journal that is written anew',
  () => {
    const elsewhere = mkdtempSync('/dev/shm/mekiki-done-');
    try {
      writeFileSync(join(folder, 'part.png'), 'no picture, which is moved as well');
      const script = `
      import { createFolderCamera } from '${new URL('../../main/capture/folder/camera.ts', import.meta.url)}';
      import { openLinesMap } from '${new URL('../../main/store/lines-map.ts', import.meta.url)}';
      import { existsSync } from 'node:fs';
      const [path, moveTo, file] = process.argv.slice(1);
      const config = { kind: 'folder', path, pollMs: 20, after: 'move', moveTo };
      await using camera = createFolderCamera(config, { cameraId: 'c', journalFile: file, maxPixels: 1e6 });
      await camera.open({ whenFree: async () => {}, offer: () => true }, { onState() {}, onRejected() {}, onTrouble() {} });
      while (existsSync(path + '/part.png')) await new Promise((resolve) => setTimeout(resolve, 20));
      openLinesMap(file, { write: (key) => key, read: (key) => ({ key, value: 1 }) }, 'throws').compact(0);`;
      const log = join(base, 'calls');
      const traced = 'trace=fsync,rename,unlink,unlinkat,renameat,renameat2';
      const child = [process.execPath, '--input-type=module', '-e', script, folder, elsewhere, join(base, 'journal')];
      execFileSync('strace', ['-f', '-y', '-e', traced, '-o', log, ...child], { stdio: 'pipe', timeout: 120_000 });
      const calls = readFileSync(log, 'utf8').split('\n');
      const places = (...patterns: RegExp[]) =>
        patterns.map((pattern) => calls.findIndex((call) => pattern.test(call)));
      for (const order of [
        places(/fsync\(.*mekiki-done-\w+\/part\.png/, /fsync\(.*mekiki-done-\w+>/, /unlink.*in\/part\.png/),
        places(/fsync\(.*journal\.tmp/, /rename.*journal\.tmp/, /fsync\(.*mekiki-folder-\w+>/),
      ]) {
        expect(order).not.toContain(-1);
        expect(order).toEqual([...order].sort((a, b) => a - b));
      }
    } finally {
      rmSync(elsewhere, { recursive: true });
    }
  },
);

test('thousands at once: all of them, once each, without more in flight than there is room for', async () => {
  const bytes = await png(9, 8);
  const count = 2000;
  for (let i = 0; i < count; i += 1) writeFileSync(join(folder, `p${String(i).padStart(5, '0')}.png`), bytes);
  await using seen = await watch();
  await until('the first', () => seen.frames.length >= 50);
  seen.setRoom(false);
  await until('it waits for room', () => seen.refusals() > 0);
  const held = seen.frames.length;
  await until('it has waited for a while', () => seen.refusals() > 20);
  expect(seen.frames).toHaveLength(held);
  seen.setRoom(true);
  await until('all', () => seen.frames.length >= count);
  await put('q.png', 9);
  await until('a later one', () => seen.frames.length > count);
  expect(seen.frames.map((f) => f.source)).toEqual([
    ...Array.from({ length: count }, (_, i) => `p${String(i).padStart(5, '0')}.png`),
    'q.png',
  ]);
});

test('the folder goes away and comes back: lost once, delivering again, nothing twice', async () => {
  await put('a.png', 10);
  await using seen = await watch();
  await until('a frame', () => seen.frames.length >= 1);
  renameSync(folder, join(base, 'away'));
  await until('lost', () => seen.states.at(-1)?.kind === 'lost');
  await pause(250);
  expect(seen.states.map((s) => s.kind)).toEqual(['delivering', 'lost']);
  expect(seen.states[1]).toMatchObject({ problem: { code: 'CAMERA_LOST' } });
  renameSync(join(base, 'away'), folder);
  await put('b.png', 20);
  await until('it delivers again', () => seen.frames.length >= 2);
  await put('c.png', 30);
  await until('a later file', () => seen.frames.length >= 3);
  expect(seen.frames.map((f) => f.source)).toEqual(['a.png', 'b.png', 'c.png']);
  expect(seen.states.map((s) => s.kind)).toEqual(['delivering', 'lost', 'delivering']);
});

test('what can never work is refused at once', async () => {
  await expect(watch({ path: 'relative/folder' })).rejects.toMatchObject({ code: 'CAMERA_CONFIG' });
  writeFileSync(join(base, 'file'), '');
  await expect(watch({ path: join(base, 'file') })).rejects.toMatchObject({ code: 'CAMERA_CONFIG' });
  await expect(watch({ after: 'move', moveTo: folder })).rejects.toMatchObject({ code: 'CAMERA_CONFIG' });
  await expect(watch({ after: 'move', moveTo: join(base, 'file', 'x') })).rejects.toMatchObject({
    code: 'CAMERA_CONFIG',
  });
});

test('the journal survives a torn last line and does not grow for ever', () => {
  const file = join(base, 'journal');
  {
    const journal = openJournal(file);
    for (let i = 0; i < 2500; i += 1) journal.add({ name: `n${i}`, size: i, mtimeMs: i }, 'x');
  }
  appendFileSync(file, '{"n":"torn');
  {
    const journal = openJournal(file);
    expect(journal.knows({ name: 'n7', size: 7, mtimeMs: 7 })).toBe(true);
    expect(journal.knows({ name: 'n7', size: 8, mtimeMs: 7 })).toBe(false);
    journal.forget('n8');
    journal.retain(new Set(['n7', 'n8']));
    journal.add({ name: 'new', size: 1, mtimeMs: 1 }, 'y');
  }
  const journal = openJournal(file);
  expect([journal.hashOf('n7'), journal.hashOf('n8'), journal.hashOf('n9'), journal.hashOf('new')]).toEqual([
    'x',
    null,
    null,
    'y',
  ]);
});

test('the journal does not grow by files that are moved away, nor by one that is written over again and again', () => {
  const file = join(base, 'journal');
  {
    const journal = openJournal(file);
    journal.add({ name: 'stays', size: 1, mtimeMs: 1 }, 'x');
    for (let i = 0; i < 5000; i += 1) {
      journal.add({ name: `n${i}`, size: i, mtimeMs: i }, 'x');
      journal.forget(`n${i}`);
      journal.add({ name: 'again', size: i, mtimeMs: i }, 'x');
      journal.retain(new Set(['stays', 'again']));
    }
    expect(statSync(file).size).toBeLessThan(100_000);
    for (let i = 0; i < 5000; i += 1) journal.add({ name: 'again', size: i, mtimeMs: i }, 'x');
  }
  // What had grown before a restart is written anew at the first poll after it.
  const journal = openJournal(file);
  journal.retain(new Set(['stays', 'again']));
  expect(statSync(file).size).toBeLessThan(1000);
  journal.add({ name: 'later', size: 1, mtimeMs: 1 }, 'y');
  const read = openJournal(file);
  expect(['stays', 'again', 'later', 'n7'].map((name) => read.hashOf(name))).toEqual(['x', 'x', 'y', null]);
});

test('a torn last line of the journal is cut off to the byte, also after a line that is no text', () => {
  const file = join(base, 'journal');
  {
    const journal = openJournal(file);
    journal.add({ name: '部品.png', size: 1, mtimeMs: 1 }, 'x');
  }
  const whole = readFileSync(file);
  // As text, each of these bytes would count as three.
  const noText = Buffer.concat([Buffer.alloc(50, 0xff), Buffer.from('\n')]);
  const torn = Buffer.from('{"n":"部').subarray(0, -1);
  appendFileSync(file, Buffer.concat([noText, torn]));
  {
    const journal = openJournal(file);
    expect(readFileSync(file)).toEqual(Buffer.concat([whole, noText]));
    journal.add({ name: 'next', size: 2, mtimeMs: 2 }, 'y');
  }
  const journal = openJournal(file);
  expect([journal.hashOf('部品.png'), journal.hashOf('next')]).toEqual(['x', 'y']);
});

test('an empty folder and a file that cannot be looked at make no file forgotten', async () => {
  const file = join(base, 'taken');
  {
    const journal = openJournal(file);
    for (let i = 0; i < 1500; i += 1) journal.add({ name: `n${i}`, size: i, mtimeMs: i }, 'x');
    journal.add({ name: 'odd.png', size: 1, mtimeMs: 1 }, 'x');
  }
  {
    await using seen = await watch();
    await until('it has polled', () => seen.states.length > 0);
  }
  {
    const journal = openJournal(file);
    expect([journal.hashOf('n7'), journal.hashOf('odd.png')]).toEqual(['x', 'x']);
  }
  // It points to itself: looking at it fails, but it is there.
  symlinkSync('odd.png', join(folder, 'odd.png'));
  await put('a.png', 10);
  {
    await using seen = await watch();
    await until('a frame', () => seen.frames.length > 0);
  }
  const journal = openJournal(file);
  expect([journal.hashOf('n7'), journal.hashOf('odd.png')]).toEqual([null, 'x']);
});

test('move: the next number of a name is remembered, and found after a restart without trying each', async () => {
  const done = join(base, 'done');
  const moved = async (seen: Awaited<ReturnType<typeof watch>>, count: number) => {
    await put('part.png', 50);
    await until(`part ${count} is moved`, () => seen.frames.length >= count && !existsSync(join(folder, 'part.png')));
  };
  {
    await using seen = await watch({ after: 'move' });
    for (let count = 1; count <= 4; count += 1) await moved(seen, count);
    // Numbers tell which came first: one that is free again is not given again.
    rmSync(join(done, 'part (1).png'));
    await moved(seen, 5);
  }
  expect(readdirSync(done).sort()).toEqual(['part (2).png', 'part (3).png', 'part (4).png', 'part.png']);
  // 3 is among those that are not tried on the way to the first free one above: 1, 2, 4, 8, 6, 7.
  for (const number of [1, 5, 6]) writeFileSync(join(done, `part (${number}).png`), '');
  rmSync(join(done, 'part (3).png'));
  await using again = await watch({ after: 'move' });
  await moved(again, 1);
  await moved(again, 2);
  expect(readdirSync(done).sort()).toEqual(
    ['part.png', ...[1, 2, 4, 5, 6, 7, 8].map((number) => `part (${number}).png`)].sort(),
  );
});
