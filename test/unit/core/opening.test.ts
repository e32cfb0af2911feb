import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { silentLog } from '../../../main/contract/log.ts';
import type { Processes } from '../../../main/core/port.ts';
import { startCore } from '../../../main/core/start.ts';

test('whoever starts a core is told when its database is opened, and when that is over', async () => {
  const base = mkdtempSync(join(tmpdir(), 'mekiki-opening-'));
  const home = join(base, 'home');
  const isThere = () => existsSync(join(home, 'mekiki.sqlite'));
  const seen: boolean[] = [];
  try {
    const core = await startCore({
      home,
      demo: false,
      log: silentLog,
      processes: { runningLines: async () => [] } as Partial<Processes> as Processes,
      async opening(open) {
        seen.push(isThere());
        try {
          return await open();
        } finally {
          seen.push(isThere());
        }
      },
    });
    await core.close();
    expect(seen).toEqual([false, true]);
  } finally {
    rmSync(base, { recursive: true });
  }
});
