import { chmodSync, mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { keptFolder } from '../../../main/host/cli/temporary-folder.ts';

const account = process.getuid?.() ?? 0;
const folderOf = (uid: number) => {
  vi.spyOn(process as Required<NodeJS.Process>, 'getuid').mockReturnValue(uid);
  return keptFolder('backbones');
};
let shared: string;
beforeEach(() => {
  shared = mkdtempSync(join(tmpdir(), 'mekiki-shared-'));
  vi.stubEnv('TMPDIR', shared);
});
afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
  rmSync(shared, { recursive: true });
});

describe.skipIf(process.platform === 'win32')('a folder that is kept for the next command', () => {
  const path = () => join(shared, `mekiki-backbones-${account}`);

  test('is there, is the same again, and is for this account alone', () => {
    expect(folderOf(account)).toBe(path());
    expect(statSync(path()).mode & 0o777).toBe(0o700);
    // As an earlier version may have made it.
    chmodSync(path(), 0o775);
    expect(folderOf(account)).toBe(path());
    expect(statSync(path()).mode & 0o777).toBe(0o700);
  });

  test('is not one of another account, nor one that a link leads to', () => {
    mkdirSync(path());
    const other = join(shared, `mekiki-backbones-${account + 1}`);
    mkdirSync(other);
    expect(() => folderOf(account + 1)).toThrow(expect.objectContaining({ code: 'INVALID_INPUT' }));
    rmSync(path(), { recursive: true });
    symlinkSync(other, path());
    expect(() => folderOf(account)).toThrow(expect.objectContaining({ code: 'INVALID_INPUT' }));
  });
});
