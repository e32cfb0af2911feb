import { afterEach, expect, test, vi } from 'vitest';
import { AppError } from '../../../main/contract/errors.ts';
import { createOutput, reportFailure, warn } from '../../../main/host/cli/output.ts';
import { printableLine } from '../../../main/contract/printable.ts';

afterEach(() => vi.restoreAllMocks());

const written = (work: () => void): string => {
  let text = '';
  for (const stream of [process.stdout, process.stderr]) {
    vi.spyOn(stream, 'write').mockImplementation((chunk) => {
      text += String(chunk);
      return true;
    });
  }
  work();
  vi.restoreAllMocks();
  return text;
};

/** Renames a terminal's window, hides what stands before it, and does it once more with signs above 7f. */
const hostile = 'scratch\u001b]0;title\u0007\r\u009b2Kdone';
const escaped = 'scratch\\u001b]0;title\\u0007\\u000d\\u009b2Kdone';

test('what others wrote moves nothing in a terminal', () => {
  expect(written(() => createOutput(false).result(hostile, (name) => `${name}\n\tsecond line, 傷`))).toBe(
    `${escaped}\n\tsecond line, 傷\n`,
  );
  expect(written(() => warn(hostile))).toBe(`${escaped}\n`);
  expect(written(() => createOutput(false).progress(hostile))).toContain(escaped);
  const failure = () => void reportFailure(new AppError('NOT_FOUND', { kind: 'file', id: hostile }), false);
  expect(written(failure)).toContain(escaped);
});

test('as JSON it is the same text', () => {
  const text = written(() => createOutput(true).result({ hostile }, () => ''));
  expect(text.trimEnd()).not.toMatch(/\p{Cc}/u);
  expect(JSON.parse(text)).toEqual({ hostile });
});

test('a name puts in no line of its own', () => {
  expect(printableLine('mori\ntrusted here: yes')).toBe('mori\\u000atrusted here: yes');
});
