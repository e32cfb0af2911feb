import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  existsSync,
  fstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { AppError } from '../../main/contract/errors.ts';
import { createLogger } from '../../main/host/log.ts';

describe('log', () => {
  let folder: string;
  let file: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'mekiki-log-'));
    file = join(folder, 'logs/core.log');
  });
  afterEach(() => {
    vi.restoreAllMocks();
    rmSync(folder, { recursive: true });
  });
  const lines = () =>
    readFileSync(file, 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);

  test('one JSON object per line, with process, level, time and fields', () => {
    const log = createLogger({ process: 'core', file, stderrLevel: null });
    log.info('first\nstill first', { stationId: 'a' });
    log.child({ job: 7 }).warn('second', { n: 1n });
    log.debug('below the level');
    log.close();
    expect(lines()).toMatchObject([
      { process: 'core', level: 'info', message: 'first\nstill first', stationId: 'a' },
      { level: 'warn', message: 'second', job: 7, n: '1' },
    ]);
    expect(Date.parse(String(lines()[0]!['at']))).toBeGreaterThan(Date.now() - 60_000);
  });

  test('errors come with code, stack and cause; cycles and depth end', () => {
    const log = createLogger({ process: 'core', file, stderrLevel: null });
    const cycle: Record<string, unknown> = {};
    cycle['self'] = cycle;
    log.error('failed', {
      error: new AppError('NOT_FOUND', { kind: 'part', id: 3 }, { cause: new Error('the reason') }),
      cycle,
      pixels: new Uint8Array(9),
    });
    log.close();
    const [line] = lines();
    expect(line).toMatchObject({
      error: { code: 'NOT_FOUND', details: { kind: 'part' }, cause: { message: 'the reason' } },
      pixels: '[Uint8Array of 9 bytes]',
    });
    expect(JSON.stringify(line)).toContain('log.test.ts');
  });

  test('fields named like secrets are hidden at any depth', () => {
    const log = createLogger({ process: 'core', file, stderrLevel: null });
    log.info('sign in', {
      input: { name: 'Sato', password: 'geheim', nested: [{ newPassword: 'geheim' }] },
      token: 'geheim',
    });
    log.close();
    expect(readFileSync(file, 'utf8')).not.toContain('geheim');
    expect(lines()[0]).toMatchObject({ input: { name: 'Sato', password: '[hidden]' }, token: '[hidden]' });
  });

  test('a full file is put aside, the oldest is dropped, nothing in between is lost', () => {
    const log = createLogger({ process: 'core', file, stderrLevel: null, maxBytes: 2000, keep: 2 });
    for (let n = 0; n < 100; n += 1) log.info('line', { n });
    log.close();
    const files = readdirSync(join(folder, 'logs')).sort();
    expect(files).toEqual(['core.log', 'core.log.1', 'core.log.2']);
    for (const name of files) expect(statSync(join(folder, 'logs', name)).size).toBeLessThanOrEqual(2000);
    const numbers = [...files]
      .reverse()
      .flatMap((name) =>
        readFileSync(join(folder, 'logs', name), 'utf8')
          .trim()
          .split('\n'),
      )
      .map((line) => (JSON.parse(line) as { n: number }).n);
    expect(numbers.at(-1)).toBe(99);
    expect(numbers).toEqual(Array.from({ length: numbers.length }, (_, i) => 100 - numbers.length + i));
  });

  test('a file that was deleted is begun anew, and nobody else loses the file that was opened meanwhile', () => {
    const told = vi.spyOn(process.stderr, 'write').mockReturnValue(true);
    const log = createLogger({ process: 'core', file, stderrLevel: null, maxBytes: 2000, keep: 2 });
    const fill = (upTo: number) => {
      for (let n = 0; n < upTo; n += 1) log.info('line', { n });
    };
    fill(15);
    rmSync(file);
    // The line that finds it full and gone.
    for (let n = 0; n < 20 && told.mock.calls.length === 0; n += 1) log.info('line');
    const other = openSync(join(folder, 'spool'), 'w');
    try {
      fill(100);
      log.info('last');
      log.close();
      expect(fstatSync(other).ino).toBe(statSync(join(folder, 'spool')).ino);
    } finally {
      closeSync(other);
    }
    expect(lines().at(-1)).toMatchObject({ message: 'last' });
    expect(readdirSync(join(folder, 'logs')).sort()).toEqual(['core.log', 'core.log.1', 'core.log.2']);
    expect(told).toHaveBeenCalledTimes(1);
  });

  test('a file that cannot be put aside is gone on with', () => {
    const told = vi.spyOn(process.stderr, 'write').mockReturnValue(true);
    const log = createLogger({ process: 'core', file, stderrLevel: null, maxBytes: 2000, keep: 1 });
    mkdirSync(`${file}.1`);
    for (let n = 0; n < 50; n += 1) log.info('line', { n });
    log.close();
    expect(lines().map((line) => line['n'])).toEqual(Array.from({ length: 50 }, (_, n) => n));
    expect(told).toHaveBeenCalled();
  });

  test('appends to what an earlier run wrote', () => {
    for (const message of ['one', 'two']) {
      const log = createLogger({ process: 'core', file, stderrLevel: null });
      log.info(message);
      log.close();
    }
    expect(lines().map((line) => line['message'])).toEqual(['one', 'two']);
  });

  test('a deferred log touches no folder until it is opened, and then has the early lines', () => {
    const log = createLogger({ process: 'core', file, stderrLevel: null, deferred: true });
    log.info('early');
    expect(existsSync(join(folder, 'logs'))).toBe(false);
    log.openFile();
    log.info('late');
    log.close();
    expect(lines().map((line) => line['message'])).toEqual(['early', 'late']);
  });

  test('warnings go to stderr as well; a file that cannot be opened leaves stderr', () => {
    const written: string[] = [];
    vi.spyOn(process.stderr, 'write').mockImplementation((text) => written.push(String(text)) > 0);
    writeFileSync(join(folder, 'taken'), '');
    const log = createLogger({ process: 'core', file: join(folder, 'taken/core.log') });
    log.info('not on stderr');
    log.warn('on stderr');
    log.close();
    expect(written.some((line) => line.includes('"on stderr"'))).toBe(true);
    expect(written.some((line) => line.includes('not on stderr'))).toBe(false);
  });

  test('a program whose stderr nobody reads any more goes on, and the file has its lines', async () => {
    const script = join(folder, 'warns.ts');
    const log = JSON.stringify(new URL('../../main/host/log.ts', import.meta.url).href);
    writeFileSync(
      script,
      `import { createLogger } from ${log};
      const log = createLogger({ process: 'core', file: ${JSON.stringify(file)} });
      log.warn('read');
      process.stdin.once('data', async () => {
        for (let n = 0; n < 5; n += 1) {
          log.warn('unread', { n });
          await new Promise((resolve) => setTimeout(resolve, 5));
        }
        process.exit(0);
      });`,
    );
    const child = spawn(process.execPath, [script], { stdio: ['pipe', 'ignore', 'pipe'] });
    const ended = once(child, 'exit');
    await once(child.stderr, 'data');
    child.stderr.destroy();
    await once(child.stderr, 'close');
    child.stdin.end('go');
    expect(await ended).toEqual([0, null]);
    expect(lines().map((line) => line['message'])).toEqual(['read', ...Array<string>(5).fill('unread')]);
  });
});
