import { afterEach, describe, expect, it, vi } from 'vitest';
import { areaOfHash } from '../../../renderer/app/areas.ts';
import { keyOfClasses, labelsPerMinute } from '../../../renderer/features/label/keys.ts';
import { bannerKind } from '../../../renderer/features/live/banner.ts';
import { lineOutputSchema, lineSettingsSchema, recipeSchema } from '../../../main/contract/domain.ts';
import {
  draftOf,
  followStation,
  stationChanges,
  stationInput,
} from '../../../renderer/features/settings/station-draft.ts';
import { regionOf } from '../../../renderer/features/settings/recipe-draft.ts';
import { durationOf, millisText, momentText, shortId, signedText, zoneText } from '../../../renderer/lib/format.ts';
import { methods } from '../../../main/contract/methods.ts';
import { judgementOf, partOf } from '../../e2e/fixtures/parts.ts';
import { createWorld } from '../../e2e/fixtures/world.ts';

const { classes, line, stations } = createWorld('shift');

describe('the time zone of a period', () => {
  afterEach(() => vi.unstubAllEnvs());
  it('is told with every offset that lies in it, also between two winters', () => {
    vi.stubEnv('TZ', 'Europe/Berlin');
    expect(zoneText('2025-11-20T00:00:00Z', '2026-11-20T00:00:00Z')).toBe('Europe/Berlin, UTC+01:00 / UTC+02:00');
    expect(zoneText('2026-05-01T00:00:00Z', '2026-05-02T00:00:00Z')).toBe('Europe/Berlin, UTC+02:00');
    vi.stubEnv('TZ', 'Asia/Tokyo');
    expect(zoneText('2025-11-20T00:00:00Z', '2026-11-20T00:00:00Z')).toBe('Asia/Tokyo, UTC+09:00');
  });
});

describe('the time of something', () => {
  afterEach(() => vi.unstubAllEnvs());
  it('names its day unless that is today, here and not in Greenwich', () => {
    vi.stubEnv('TZ', 'Asia/Tokyo');
    const now = new Date('2026-11-23T15:30:00Z');
    expect(momentText('2026-11-23T15:00:05Z', now)).toBe('00:00:05');
    expect(momentText('2026-11-23T14:59:59Z', now)).toBe('11-23 23:59:59');
    expect(momentText('2026-11-02T21:00:00Z', now, false)).toBe('11-03 06:00');
    expect(momentText('2025-12-31T14:59:00Z', now, false)).toBe('2025-12-31 23:59');
  });
});

describe('the banner', () => {
  const old = partOf(1, judgementOf('ok', 'c-ok'), 'none', 600);
  const fresh = partOf(2, judgementOf('ng', 'c-pit'), 'pits', 1);
  it('shows the newest verdict of a running line', () => {
    expect(bannerKind(line, fresh, null)).toBe('ng');
  });
  it('never shows a verdict of an earlier run, of a stopped line, of a lost camera, or of a line of which nothing is known', () => {
    expect(bannerKind(line, old, null)).toBe('waiting');
    expect(bannerKind({ ...line, state: 'stopped' }, fresh, null)).toBe('stopped');
    expect(bannerKind({ ...line, camera: 'fault' }, fresh, null)).toBe('fault');
    expect(bannerKind({ ...line, state: 'fault' }, fresh, null)).toBe('fault');
    expect(bannerKind({ ...line, state: 'starting' }, fresh, null)).toBe('starting');
    expect(bannerKind(null, fresh, null)).toBe('unknown');
  });
  it('goes by the count of the run while the clock is set back: its times lie before the start, those of the run before after it', () => {
    expect(bannerKind(line, old, null, true)).toBe('ok');
    expect(bannerKind({ ...line, parts: 0 }, fresh, null, true)).toBe('waiting');
  });
  it('shows the part that is held', () => {
    expect(bannerKind({ ...line, state: 'stopped' }, fresh, old)).toBe('ok');
    expect(bannerKind(null, fresh, old)).toBe('ok');
  });
});

describe('class keys', () => {
  it('gives each its own key first and the rest the free digits', () => {
    const mixed = classes.map((entry, i) => ({ ...entry, hotKey: i === 2 ? '1' : null }));
    const keys = keyOfClasses(mixed);
    expect(keys[0]?.defectClass.isOk).toBe(true);
    expect(keys.find(({ defectClass }) => defectClass.id === mixed[2]!.id)?.key).toBe('1');
    expect(new Set(keys.map(({ key }) => key)).size).toBe(keys.length);
  });
  it('runs out of digits after nine, and leaves retired classes out', () => {
    const many = Array.from({ length: 12 }, (_, i) => ({
      ...classes[1]!,
      id: `c-${i}`,
      hotKey: null,
      retired: i === 0,
    }));
    const keys = keyOfClasses(many);
    expect(keys).toHaveLength(11);
    expect(keys.filter(({ key }) => key !== null)).toHaveLength(9);
  });
  it('measures labels per minute over the last ten', () => {
    expect(labelsPerMinute([0])).toBeNull();
    expect(labelsPerMinute([0, 6000, 12_000])).toBe(10);
  });
});

describe('the station form', () => {
  it('gives back what it was made of', () => {
    const [station] = stations;
    const input = stationInput(draftOf(station!), station!);
    expect(methods['stations.add'].input.parse(input)).toMatchObject({
      name: station!.name,
      camera: station!.camera,
      recipe: station!.recipe,
      criteria: station!.criteria,
    });
  });
  it('gives back a recipe with regions, overlap and a part finder', () => {
    const [station] = stations;
    const region = { x: 10, y: 20, width: 800, height: 640 };
    const pixels = Buffer.alloc(100 * 80, 7).toString('base64');
    const template = { region, scale: 8, width: 100, height: 80, pixels };
    for (const finder of [
      { kind: 'fixed' },
      { kind: 'trigger-offset', x: -12, y: 4 },
      { kind: 'template', template, searchX: 50, minScore: 0.7 },
    ]) {
      const recipe = recipeSchema.parse({ finder, regions: [region], tiles: { columns: 6, rows: 5, overlap: 0.15 } });
      const made = { ...station!, recipe };
      expect(methods['stations.add'].input.parse(stationInput(draftOf(made), made)).recipe).toEqual(recipe);
    }
    const typed = { ...draftOf(station!), recipe: { ...draftOf(station!).recipe, regions: 'left half' } };
    expect(() => methods['stations.add'].input.parse(stationInput(typed, station!))).toThrow();
  });
  it.each(['900, 700, 640, 480', ' 900 700 640 480 ', '９００、７００、６４０、４８０'])(
    'reads the place of a part from "%s"',
    (text) => {
      expect(regionOf(text)).toEqual({ x: 900, y: 700, width: 640, height: 480 });
    },
  );
  it('changes what was typed and nothing else, and follows the station in every other field', () => {
    const opened = stations[0]!;
    expect(stationChanges(draftOf(opened), opened)).toEqual({});
    const typed = { ...draftOf(opened), maxDropPp: 3, line: { ...draftOf(opened).line, deadlineMs: 150 } };
    const changes = stationChanges(typed, opened);
    expect(Object.keys(changes).sort()).toEqual(['criteria', 'line']);
    const now = {
      ...opened,
      name: 'Press 9',
      criteria: { ...opened.criteria, revalidateDays: 30, maxDropPp: 2 },
      line: { ...opened.line, dropPolicy: 'block' as const },
    };
    const followed = followStation(typed, draftOf(opened), draftOf(now));
    expect(followed).toEqual({
      ...draftOf(now),
      maxDropPp: 3,
      line: { ...draftOf(now).line, deadlineMs: 150 },
    });
    expect(stationChanges(followed, now)).toEqual({
      criteria: { ...now.criteria, maxDropPp: 3 },
      line: { ...now.line, deadlineMs: 150 },
    });
  });
  it('makes a valid new station of either camera', () => {
    const draft = { ...draftOf(null), name: ' Line 1 ', kind: 'folder' as const, path: '/data/in' };
    expect(methods['stations.add'].input.parse(stationInput(draft, null))).toMatchObject({
      name: 'Line 1',
      camera: { kind: 'folder', path: '/data/in', after: 'leave' },
    });
  });
});

describe('the line part of the station form', () => {
  const [station] = stations;
  const parse = (draft: ReturnType<typeof draftOf>, of: typeof station | null = station!) =>
    methods['stations.add'].input.parse(stationInput(draft, of ?? null));

  it('gives back what it was made of, and keeps what it does not show', () => {
    const line = lineSettingsSchema.parse({
      trigger: { source: 'line-output', minSpacingMs: 40, debounceMs: 3 },
      deadlineMs: 150,
      dropPolicy: 'drop-oldest',
      picture: { darkBelow: 20, saturatedShareAbove: 0.07, frozenAfter: null },
    });
    for (const output of [
      { kind: 'none' },
      {
        kind: 'modbus-server',
        address: '192.168.1.5',
        peers: ['192.168.1.20', '::1'],
        addresses: { lot: 100 },
        resultTimeoutMs: 900,
      },
      {
        kind: 'modbus-client',
        address: '192.168.1.9',
        port: 1502,
        unit: 3,
        pollMs: 7,
        answerTimeoutMs: 4_000,
        writeCoilsAt: 99,
        peerTimeoutMs: null,
      },
    ]) {
      const lineOutput = lineOutputSchema.parse(output);
      const made = { ...station!, line, lineOutput };
      expect(parse(draftOf(made), made)).toMatchObject({ line, lineOutput });
    }
  });
  it('takes the allow-list as people type it, and refuses what is no address', () => {
    const typed = (peers: string) => {
      const draft = draftOf(null);
      return { ...draft, name: 'A', line: { ...draft.line, output: 'modbus-server' as const, peers } };
    };
    expect(parse(typed(' 10.0.0.1, 10.0.0.2  fe80::1 '), null).lineOutput).toMatchObject({
      peers: ['10.0.0.1', '10.0.0.2', 'fe80::1'],
    });
    expect(() => parse(typed('10.0.0.999'), null)).toThrow();
    expect(() => parse({ ...typed(''), line: { ...typed('').line, deadlineMs: 5 } }, null)).toThrow();
  });
});

describe('numbers as text', () => {
  it('shows three figures', () => {
    expect([0.4371, 2.934, 16.84, 204.4].map(millisText)).toEqual(['0.437', '2.93', '16.8', '204']);
  });
  it('has a true minus and no signed zero', () => {
    expect([0.34, -1.86, -0.04].map((value) => signedText(value))).toEqual(['+0.3', '−1.9', '0.0']);
  });
  it('splits a time, and never shows a negative one', () => {
    expect(durationOf(3725)).toEqual({ hours: 1, minutes: 2, seconds: 5 });
    expect(durationOf(-3)).toEqual({ hours: 0, minutes: 0, seconds: 0 });
  });
  it('keeps readable ids whole', () => {
    expect([shortId('m-0042'), shortId('m-550e8400-e29')]).toEqual(['m-0042', 'm-550e8']);
  });
});

describe('areas', () => {
  it('falls back to Live for an address that is none', () => {
    expect([areaOfHash('#/label'), areaOfHash(''), areaOfHash('#/nowhere')]).toEqual(['label', 'live', 'live']);
  });
});
