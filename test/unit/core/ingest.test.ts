import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { silentLog } from '../../../main/contract/log.ts';
import { createIngest } from '../../../main/core/ingest.ts';
import { openStore } from '../../../main/store/open.ts';
import { newStation } from '../../store/examples.ts';
import { lineRecord } from './world.ts';

test('a part that comes twice, of its own and sent again, is told to the windows and to the plant once', async () => {
  const home = mkdtempSync(join(tmpdir(), 'mekiki-ingest-'));
  const now = () => new Date();
  const store = await openStore({ home, demo: false, now });
  try {
    store.stations.insert(newStation({ id: 'st-1' }), now());
    const windows: unknown[] = [];
    const plant: number[] = [];
    const emit = (name: string, payload: unknown) => void (name === 'parts.inspected' && windows.push(payload));
    const ingest = createIngest(
      { store, now, emit, log: silentLog },
      { watch: () => false, undo() {} },
      { parts: (_, records) => void plant.push(...records.map(({ seq }) => seq)) },
    );
    const comes = (...seqs: number[]) =>
      ingest.store(
        'st-1',
        seqs.map((seq) => lineRecord(seq)),
      );
    expect(comes(1)).toBe(1);
    // As a line sends that is set up while it runs: what came of its own, then all that the core had not acknowledged.
    expect(comes(2, 3, 1, 2, 3, 4)).toBe(4);
    expect(plant).toEqual([1, 2, 3, 4]);
    expect(windows).toMatchObject([1, 2, 3, 4].map((seq) => ({ seq })));
  } finally {
    store.close();
    rmSync(home, { recursive: true, force: true });
  }
});
