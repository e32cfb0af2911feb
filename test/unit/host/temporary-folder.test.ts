import { afterEach, expect, test, vi } from 'vitest';
import { keptFolder } from '../../../main/host/cli/temporary-folder.ts';

afterEach(() => vi.restoreAllMocks());

test.skipIf(process.platform === 'win32')('two accounts of a PC keep nothing in one folder', () => {
  const folderOf = (account: number) => {
    vi.spyOn(process as Required<NodeJS.Process>, 'getuid').mockReturnValue(account);
    return keptFolder('backbones');
  };
  expect(folderOf(1000)).not.toBe(folderOf(1001));
  expect(folderOf(1000)).toBe(folderOf(1000));
});
