import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { LineStatus } from '../../main/contract/domain.ts';
import type { events, methods } from '../../main/contract/methods.ts';
import { createClient } from '../../main/contract/rpc/client.ts';
import { createMemoryPair } from '../../main/contract/rpc/memory.ts';
import { serve } from '../../main/host/serve.ts';
import { until } from './line-home.ts';

/* Two stations in one data folder: the whole program under plain Node, each line in a process of its own. */

test('two lines run side by side, each with its own numbers; one that is killed or stopped is nothing to the other', async () => {
  const home = mkdtempSync(join(tmpdir(), 'mekiki-stations-'));
  const serving = await serve({ home, port: 0, demo: false, stderrLevel: null });
  try {
    const [window, own] = createMemoryPair();
    serving.supervisor.attachWindow(window);
    const client = createClient<typeof methods, typeof events>(own, { peer: 'core' });
    await client.call('session.firstStart', { language: 'en', name: 'Hana', password: 'a password of hers' });
    await client.call('session.signIn', { name: 'Hana', password: 'a password of hers' });
    const camera = { kind: 'simulated' as const, partsPerMinute: 600, width: 128, height: 128 };
    const [given] = await client.call('stations.list', {});
    const one = await client.call('stations.update', { stationId: given!.id, camera, threads: 1 });
    const two = await client.call('stations.add', {
      name: 'Line 2',
      camera: { ...camera, surface: 'fabric', width: 96, height: 96 },
      threads: 1,
    });
    const told = new Map<string, LineStatus[]>([
      [one.id, []],
      [two.id, []],
    ]);
    client.on('line.changed', (status) => told.get(status.stationId)?.push(status));
    const last = ({ id }: { id: string }) => told.get(id)!.at(-1);
    for (const { id } of [one, two]) await client.call('line.start', { stationId: id });
    await until('both have parts', () => [one, two].every((station) => (last(station)?.parts ?? 0) >= 10));

    const line = (id: string) => serving.supervisor.processes().find(({ name }) => name === `line:${id}`)!;
    const [first, second] = [line(one.id).pid!, line(two.id).pid!];
    expect(first).not.toBe(second);
    const before = { one: last(one)!.parts, two: last(two)!.parts };
    told.get(two.id)!.splice(0, told.get(two.id)!.length - 1);
    const begun = last(one)!.startedAt;
    process.kill(first, 'SIGKILL');
    await until('the killed one is back', () => {
      const { pid } = line(one.id);
      const { state, startedAt } = last(one)!;
      return pid !== undefined && pid !== first && state === 'running' && startedAt !== begun;
    });
    // Counts begin anew with the process; numbers do not.
    await until('both go on', () => last(one)!.parts >= 3 && last(two)!.parts >= before.two + 10);
    expect(line(two.id)).toMatchObject({ pid: second, restarts: 0 });
    expect(told.get(two.id)!.every(({ state, problem }) => state === 'running' && problem === null)).toBe(true);

    const stopped = await client.call('line.stop', { stationId: one.id });
    expect(stopped.state).toBe('stopped');
    const then = last(two)!.parts;
    await until('the other goes on', () => last(two)!.parts >= then + 5);
    await client.call('line.stop', { stationId: two.id });
    for (const [{ id }, side] of [
      [one, 128],
      [two, 96],
    ] as const) {
      const parts = await client.call('parts.recent', { stationId: id, limit: 500 });
      expect(parts.every((part) => part.stationId === id && part.width === side && part.height === side)).toBe(true);
      const numbers = parts.map(({ seq }) => seq).reverse();
      expect(numbers).toEqual(numbers.map((_, i) => i + 1));
    }
    client.close();
  } finally {
    await serving.close();
    rmSync(home, { recursive: true, force: true });
  }
});
