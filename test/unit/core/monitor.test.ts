import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createRandom } from '../../../main/capture/simulated/random.ts';
import type { LineRecord } from '../../../main/contract/line.ts';
import { REFERENCE_PARTS } from '../../../main/learning/monitor/part-monitor.ts';
import { newJudgement } from '../../store/examples.ts';
import { lineRecord, PASSWORD, setUp, startWorld, until, type World } from './world.ts';

let world: World;
beforeEach(async () => {
  world = await startWorld({ now: () => new Date('2026-01-01T00:00:00.000Z') });
});
afterEach(() => world.close());

const random = createRandom(8);
/** Parts of one model; `change` moves their feature mean. */
const records = (from: number, count: number, change = 0, modelId = 'm-1'): LineRecord[] =>
  Array.from({ length: count }, (_, i) =>
    lineRecord(from + i, {
      imageSha: null,
      judgement: newJudgement({
        verdict: 'ok',
        unsureReason: null,
        modelId,
        novelty: 1 + 0.1 * random.normal(),
        margin: 0.5 + 0.3 * random.next(),
        signature: [random.normal() + change, random.normal(), random.normal()],
      }),
    }),
  );

test('a change of the line raises one alarm, audited and told, that lasts over a restart until it is acknowledged', async () => {
  const { stationId } = await setUp(world);
  await world.call('line.start', { stationId });
  const send = async (sent: LineRecord[]) => {
    const line = world.lines.get(stationId)!;
    line.emit(sent);
    await until(() => world.lines.get(stationId)!.acknowledged.includes(sent.at(-1)!.seq));
  };
  await send(records(1, REFERENCE_PARTS - 100));
  expect(await world.call('alarms.state', { stationId })).toEqual({
    reference: REFERENCE_PARTS - 100,
    needed: REFERENCE_PARTS,
    watched: 0,
  });
  // A restart in the middle of the reference, and one while charts are filling, change nothing.
  await world.reopen();
  await world.call('line.start', { stationId });
  await send(records(REFERENCE_PARTS - 99, 300));
  expect(await world.call('alarms.list', { stationId })).toEqual([]);
  expect(await world.call('alarms.state', { stationId })).toMatchObject({ reference: REFERENCE_PARTS, watched: 200 });
  await send(records(REFERENCE_PARTS + 201, 10, 1.2));
  await world.reopen();
  await world.call('line.start', { stationId });
  await send(
    records(REFERENCE_PARTS + 211, 190, 1.2).map((each) => ({ ...each, imageSha: lineRecord(each.seq).imageSha })),
  );
  const open = await world.call('alarms.list', { stationId, openOnly: true });
  // The chart goes beyond its limit again and again: one alarm until somebody has seen it.
  expect(open).toMatchObject([{ measure: 'feature-mean', modelId: 'm-1', acknowledged: null }]);
  expect(open[0]!.partId).toBeGreaterThan(REFERENCE_PARTS + 200);
  // Whoever looks at it wants to see its part: the line's ring does not take that picture.
  const { imageSha } = await world.call('parts.get', { partId: open[0]!.partId! });
  expect(existsSync(join(world.home, 'images', imageSha!.slice(0, 2), `${imageSha}.keep`))).toBe(true);
  expect(world.events.some((event) => event.name === 'alarms.changed')).toBe(true);

  const nobody = world.core.openSession();
  await expect(world.call('alarms.acknowledge', { alarmId: open[0]!.id }, nobody)).rejects.toMatchObject({
    code: 'NOT_ALLOWED',
  });
  await world.reopen();
  const again = world.core.openSession();
  await world.call('session.signIn', { name: 'sato', password: PASSWORD }, again);
  expect(await world.call('alarms.list', { stationId, openOnly: true })).toHaveLength(1);
  await expect(world.call('alarms.acknowledge', { alarmId: 999 }, again)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  expect((await world.call('alarms.acknowledge', { alarmId: open[0]!.id }, again)).acknowledged?.by).toBe('sato');
  expect(await world.call('alarms.list', { stationId, openOnly: true })).toEqual([]);
  const { entries, valid } = await world.call('audit.list', {}, again);
  expect(valid).toBe(true);
  const actions = entries.map(({ action, user }) => `${action} ${user}`);
  expect(actions).toContain('alarms.raise system');
  expect(actions).toContain('alarms.acknowledge sato');
});

test('another model starts another reference: its own look is no alarm', async () => {
  const { stationId } = await setUp(world);
  await world.call('line.start', { stationId });
  const line = world.lines.get(stationId)!;
  line.emit(records(1, REFERENCE_PARTS + 50));
  const from = REFERENCE_PARTS + 51;
  line.emit(records(from, REFERENCE_PARTS + 100, 3, 'm-2'));
  await until(() => line.acknowledged.includes(from + REFERENCE_PARTS + 99));
  expect(await world.call('alarms.list', { stationId })).toEqual([]);
  expect(await world.call('alarms.state', { stationId })).toMatchObject({ watched: 100 });
});

test('the charts of a report show the change that the alarm is about, against the first parts', async () => {
  const { stationId } = await setUp(world);
  expect(await world.call('reports.drift', { stationId })).toMatchObject({ modelId: null, groups: [], limits: null });
  await world.call('line.start', { stationId });
  const line = world.lines.get(stationId)!;
  line.emit(records(1, REFERENCE_PARTS + 100));
  const from = REFERENCE_PARTS + 101;
  line.emit(records(from, 100).map((record) => ({ ...record, judgement: { ...record.judgement, novelty: 4 } })));
  await until(() => line.acknowledged.includes(from + 99));
  const { modelId, reference, limits, groups } = await world.call('reports.drift', { stationId });
  expect([modelId, reference]).toEqual(['m-1', REFERENCE_PARTS]);
  // 700 parts in groups of 25, each part once.
  expect(groups).toHaveLength(28);
  // Four groups of the change, far outside; one of the others may be a little outside by chance.
  expect(groups.slice(-4).every(({ novelty }) => novelty > limits!.novelty.high)).toBe(true);
  expect(groups.filter(({ novelty }) => novelty > limits!.novelty.high).length).toBeLessThanOrEqual(5);
  expect(groups.slice(0, -4).every(({ novelty }) => novelty < 2)).toBe(true);
  // Fewer groups are asked for: they are spread over all the time.
  const few = (await world.call('reports.drift', { stationId, groups: 7 })).groups;
  expect(few).toHaveLength(7);
  expect(few.at(-1)!.novelty).toBe(4);
});
