import type { Logger } from '../contract/log.ts';
import type { Client } from '../contract/rpc/api.ts';
import { createClient } from '../contract/rpc/client.ts';
import { UPKEEP, type upkeepEvents, type upkeepMethods } from './control.ts';
import { keepProcess } from './kept-process.ts';
import { entryFile, type ChildSettings, type SpawnPort } from './spawn.ts';

export interface UpkeepOptions {
  spawn: SpawnPort;
  settings: Omit<ChildSettings, 'name'>;
  log: Logger;
}

/**
 * Has a home restored or checked by a process of its own, which ends with `work`: whoever asks for it loads no database.
 * @throws what the process cannot start for, and what `work` throws: DISCONNECTED where the process died
 */
export async function withUpkeep<T>(
  { spawn, settings, log }: UpkeepOptions,
  work: (upkeep: Client<typeof upkeepMethods, typeof upkeepEvents>) => Promise<T>,
): Promise<T> {
  const child = keepProcess({
    name: UPKEEP,
    restart: 'on-demand',
    log,
    // The core's entry in another role: both bring the code that opens databases.
    spawn: () => spawn.spawn(UPKEEP, entryFile('core'), { ...settings, name: UPKEEP }),
  });
  try {
    const wire = await child.ensure();
    return await work(createClient(wire.open(UPKEEP), { peer: UPKEEP }));
  } finally {
    await child.stop();
  }
}
