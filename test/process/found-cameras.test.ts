import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startSimulator } from '../../main/capture/gige/simulator/simulator.ts';
import { silentLog } from '../../main/contract/log.ts';
import { events, methods } from '../../main/contract/methods.ts';
import { createClient } from '../../main/contract/rpc/client.ts';
import { createMemoryPair } from '../../main/contract/rpc/memory.ts';
import { createForkSpawnPort } from '../../main/host/spawn.ts';
import { createSupervisor, type Supervisor } from '../../main/host/supervisor.ts';
import { ownAddress } from '../helpers/simulated-gige.ts';
import { childSettings } from '../helpers/child-settings.ts';

/* The whole road: window, core, the process that looks, the network. */

describe('cameras.find', () => {
  let home: string;
  let supervisor: Supervisor;
  beforeEach(async () => {
    home = mkdtempSync(join(tmpdir(), 'mekiki-cameras-'));
    supervisor = createSupervisor({
      spawn: createForkSpawnPort(),
      settings: childSettings(home),
      log: silentLog,
    });
    await supervisor.start();
  });
  afterEach(async () => {
    await supervisor.close();
    rmSync(home, { recursive: true });
  });

  it('lists what answers to an engineer, and leaves no process behind', async () => {
    const address = ownAddress();
    const serial = `F${Date.now() % 1e9}`;
    await using simulator = await startSimulator({ address, serial });
    const [window, ours] = createMemoryPair();
    supervisor.attachWindow(window);
    const client = createClient<typeof methods, typeof events>(ours, { peer: 'core' });
    await expect(client.call('cameras.find', { addresses: [address] })).rejects.toMatchObject({ code: 'NOT_ALLOWED' });
    await client.call('session.firstStart', { name: 'Mori', password: 'a long enough password', language: 'en' });
    // A process that was held up may have ended its search before it looked for answers.
    const own = (cameras: readonly { serial: string }[]) => cameras.filter((camera) => camera.serial === serial);
    await expect
      .poll(async () => own(await client.call('cameras.find', { addresses: [address] })))
      .toMatchObject([{ id: serial, address, manufacturer: 'Mekiki', model: 'Simulated GigE camera' }]);
    expect(simulator.status().controller).toBeNull();
    await expect.poll(() => supervisor.processes().some(({ name }) => name === 'cameras')).toBe(false);
    // Two at once share a process, and one after it was ended has another.
    const both = async () => {
      const [, there] = await Promise.all([
        client.call('cameras.find', {}),
        client.call('cameras.find', { addresses: [address] }),
      ]);
      return own(there).length;
    };
    await expect.poll(both).toBe(1);
    await expect(client.call('cameras.find', { addresses: ['not an address'] })).rejects.toMatchObject({
      code: 'INVALID_INPUT',
    });
    expect(readFileSync(join(home, 'logs/cameras.log'), 'utf8')).toContain('ends');
    client.close();
  });
});
