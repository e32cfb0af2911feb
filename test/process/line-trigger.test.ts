import { expect, test } from 'vitest';
import { criteriaSchema } from '../../main/contract/domain.ts';
import { createLineHome, lineSettings, lineStation, listenedLine, until } from './line-home.ts';

const simulated = { kind: 'simulated', partsPerMinute: 60_000, width: 128, height: 128 };
const signal = new AbortController().signal;

test('software trigger: one part per trigger, none without, too soon is refused and counted', async () => {
  using at = await createLineHome();
  const line = listenedLine();
  try {
    const station = lineStation(simulated, {
      line: lineSettings({ trigger: { source: 'software', minSpacingMs: 60_000 } }),
    });
    await line.configure(at.home, station, await at.bundle('m-1'));
    expect(() => line.line['line.trigger']({}, null, signal)).toThrow(/stopped/);
    await line.start();
    const trigger = () => line.line['line.trigger']({}, null, signal) as Promise<{ taken: boolean }>;
    expect(await trigger()).toEqual({ taken: true });
    expect(await trigger()).toEqual({ taken: false });
    await until('the part is judged', () => line.records.length >= 1);
    const status = await line.stop();
    expect(status).toMatchObject({ parts: 1, triggers: 1, refusedTriggers: 1 });
    expect(line.records.map((record) => record.judgement.modelId)).toEqual(['m-1']);
  } finally {
    await line.line.dispose();
  }
});

test('a folder cannot be triggered, and says so at start', async () => {
  using at = await createLineHome();
  const line = listenedLine();
  try {
    const station = lineStation(
      { kind: 'folder', path: at.home },
      { line: lineSettings({ trigger: { source: 'line-output' } }) },
    );
    await line.configure(at.home, station, null);
    await expect(line.start()).rejects.toMatchObject({ code: 'CAMERA_CONFIG' });
  } finally {
    await line.line.dispose();
  }
});

test('a camera that is closed, or opened anew, while a part is under way: the part has a record', async () => {
  using at = await createLineHome();
  const line = listenedLine();
  try {
    // The second picture of the part is not asked for before the line stops.
    const frames = { perPart: 2, rule: 'worst-of', spacingMs: 10_000 };
    const settings = lineSettings({ trigger: { source: 'software' }, frames, deadlineMs: null });
    const bundleDir = await at.bundle('m-1');
    const configure = (width: number, maxLatencyMsP99: number) => {
      const criteria = criteriaSchema.parse({ maxLatencyMsP99 });
      return line.configure(at.home, lineStation({ ...simulated, width }, { line: settings, criteria }), bundleDir);
    };
    await configure(128, 6000);
    await line.start();
    const trigger = () => line.line['line.trigger']({}, null, signal) as Promise<{ taken: boolean }>;
    expect(await trigger()).toEqual({ taken: true });
    await configure(160, 6000);
    expect(await trigger()).toEqual({ taken: true });
    // The time after which a part is late goes to the camera as well.
    await configure(160, 7000);
    expect(await trigger()).toEqual({ taken: true });
    expect(await line.stop()).toMatchObject({ parts: 3, triggers: 3, refusedTriggers: 0 });
    // A line that is configured tells again what was not acknowledged.
    const told = new Map(line.records.map(({ seq, judgement }) => [seq, judgement]));
    expect([...told.keys()]).toEqual([1, 2, 3]);
    for (const judgement of told.values())
      expect(judgement).toMatchObject({ unsureReason: 'late', errorCode: 'CAMERA_NO_FRAME' });
  } finally {
    await line.line.dispose();
  }
});

test.each(['software', 'free-run'] as const)(
  'three frames of each part (%s): one verdict, one record and one picture, and the record says how they voted',
  async (source) => {
    using at = await createLineHome();
    const line = listenedLine();
    try {
      const station = lineStation(
        { ...simulated, partsPerMinute: 120 },
        { line: lineSettings({ trigger: { source }, frames: { perPart: 3, rule: 'majority' } }) },
      );
      await line.configure(at.home, station, await at.bundle('m-1'));
      await line.start();
      for (let n = 1; n <= 3; n += 1) {
        if (source === 'software') expect(await line.line['line.trigger']({}, null, signal)).toEqual({ taken: true });
        await until('the part is judged', () => line.records.length >= n);
      }
      const status = await line.stop();
      expect(status.parts).toBe(line.records.length);
      if (source === 'software') expect(status).toMatchObject({ parts: 3, triggers: 3, late: 0 });
      const judged = line.records.filter(({ judgement }) => judgement.unsureReason !== 'late');
      expect(judged.length).toBeGreaterThanOrEqual(3);
      for (const { judgement, notes, imageSha } of judged) {
        expect(judgement).toMatchObject({ modelId: 'm-1', errorCode: null });
        const note = notes.find((one) => one.startsWith('frame '))!;
        const [, deciding, verdicts] = /^frame (\d) of 3 decides: (.*)$/.exec(note)!;
        expect(verdicts!.split(', ')).toHaveLength(3);
        expect(verdicts!.split(', ')[Number(deciding) - 1]).toBe(judgement.verdict);
        expect(imageSha).not.toBeNull();
      }
    } finally {
      await line.line.dispose();
    }
  },
  240_000,
);
