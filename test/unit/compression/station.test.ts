import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { InferenceSession } from 'onnxruntime-node';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { describeEnvironment } from '../../../main/compression/environment.ts';
import { clopperPearson } from '../../../main/learning/exact-statistics.ts';
import { runShadow, weighBundle } from '../../../main/compression/shadow.ts';
import { openInspector } from '../../../main/inspection/inspector.ts';
import { decodeImage } from '../../../main/vision/decode.ts';
import { compressStation, type CompressStationInput } from '../../../main/compression/station.ts';
import { heatMapOf } from '../../../main/learning/heat-map.ts';
import { criteriaSchema, evidenceSchema, modelCardSchema, recipeSchema } from '../../../main/contract/domain.ts';
import { trainerMethods } from '../../../main/contract/trainer.ts';
import { CLASSES, fakeMeasure, smallBackboneFile, texture } from './small-data.ts';

let folder: string;
let input: CompressStationInput;
const measure: typeof fakeMeasure = async (contenders, settings) => {
  // Names are candidate ids here: the last one is the uncompressed model.
  const times = await fakeMeasure(contenders, settings);
  const slow = { p50: 10, p99: 11, coldP50: 10, samples: Array.from({ length: 310 }, () => 10) };
  const fast = { p50: 3, p99: 4, coldP50: 3, samples: Array.from({ length: 310 }, () => 3) };
  return new Map([...times].map(([name, time]) => [name, /^c\d$/.test(name) ? (name === 'c2' ? slow : fast) : time]));
};
/** As `measure`, and a student is the fastest of what the search tries. */
const studentsFastest: typeof fakeMeasure = async (contenders, settings) => {
  const times = await measure(contenders, settings);
  const fastest = { p50: 0.1, p99: 0.1, coldP50: 0.1, samples: Array.from({ length: 300 }, () => 0.1) };
  return new Map([...times].map(([name, time]) => [name, name.startsWith('distill') ? fastest : time]));
};

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mekiki-station-'));
  const images: CompressStationInput['images'] = [];
  for (let kind = 0; kind < 3; kind++) {
    for (let i = 0; i < 24; i++) {
      const bytes = await texture(kind, 300 + i);
      const sha = createHash('sha256').update(bytes).digest('hex');
      const file = join(folder, `${sha}.png`);
      await writeFile(file, bytes);
      images.push({ sha, file, region: null, classId: CLASSES[kind]!, row: -1 });
    }
  }
  const outDir = join(folder, 'out');
  await mkdir(outDir);
  input = {
    backbone: await smallBackboneFile(folder),
    recipe: recipeSchema.parse({}),
    classes: CLASSES.map((id, i) => ({
      id,
      names: { en: id, ja: id },
      isOk: id === 'plain',
      color: i + 1,
      hotKey: null,
      retired: false,
    })),
    images,
    criteria: criteriaSchema.parse({ maxDropPp: 5 }),
    threads: 1,
    outDir,
    featureFile: join(folder, 'none.f32'),
    exports: [],
    knowledgeDir: folder,
    knowledgeId: 'k1',
    stationId: 's1',
    demo: true,
    timeBudgetS: 100_000,
    activeBundleDir: null,
    candidateIds: ['c0', 'c1', 'c2'],
    lineThreads: 2,
    workDir: null,
    costsDir: null,
  };
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe('compressStation', () => {
  it('gives candidates with evidence, the uncompressed one last, then compares with an active one', async () => {
    const seen: number[] = [];
    const first = await compressStation(input, {
      measure: studentsFastest,
      onProgress: ({ progress }) => seen.push(progress),
    });
    trainerMethods['trainer.compress'].output.parse(first);
    expect(seen).toEqual(seen.toSorted((a, b) => a - b));
    expect(seen.at(-1)).toBe(1);
    expect(first.candidates.map(({ card }) => card.id)).toEqual(['c0', 'c1', 'c2']);
    const last = first.candidates.at(-1)!;
    expect(last.card.strategy).toBe('none');
    expect(last.card.precision).toBe('fp32');
    expect(last.evidence.changed).toEqual([]);
    expect(last.evidence.speedup).toBe(1);
    expect(first.candidates.filter(({ recommended }) => recommended)).toHaveLength(1);
    for (const { dir, card, evidence } of first.candidates) {
      expect(card).toMatchObject({ demo: true, stationId: 's1', knowledgeId: 'k1' });
      expect(modelCardSchema.parse(JSON.parse(await readFile(join(dir, 'model.json'), 'utf8')))).toEqual(card);
      expect(evidenceSchema.parse(JSON.parse(await readFile(join(dir, 'evidence.json'), 'utf8')))).toEqual(evidence);
      const bytes = await readFile(join(dir, 'model.onnx'));
      expect(createHash('sha256').update(bytes).digest('hex')).toBe(card.modelSha256);
      expect(evidence.gates.map(({ name }) => name)).toEqual([
        'escape',
        'overkill',
        'drop',
        'novelty',
        'latency',
        'parity',
      ]);
      // 24 good parts cannot show an overkill below 10 % with 95 % confidence: 29 would.
      expect(evidence.gates[1]).toMatchObject({ outcome: 'not-enough-evidence', missing: expect.any(Number) });
      expect(evidence.gates[5]!.outcome).toBe('pass');
      expect(evidence.calibration).toMatchObject({
        temperature: card.temperature,
        ece: expect.any(Number),
        overkill: { outcome: 'not-enough-evidence' },
      });
      // As the line runs it, not as the trainer works.
      expect(evidence.environment).toEqual(describeEnvironment(2));
      // From the trained model to the file, on the same pictures: the last step is the parity of the gate, and the whole way comes last.
      const stages = evidence.parityStages!;
      const uncompressed = card.strategy === 'none' && card.precision === 'fp32';
      const way = [
        'trained',
        ...(card.strategy === 'none' ? [] : ['compressed']),
        ...(card.precision === 'int8' ? ['quantised'] : []),
        'deployed',
      ];
      const steps = way.slice(1).map((to, i) => [way[i], to]);
      expect(stages.map(({ from, to }) => [from, to])).toEqual(
        uncompressed ? steps : [...steps, ['trained', 'deployed']],
      );
      expect(stages[steps.length - 1]).toMatchObject(evidence.parity);
      expect(new Set(stages.map(({ images }) => images))).toEqual(new Set([48]));
      if (!uncompressed) expect(stages.at(-1)!.maxLogitDifference).toBeGreaterThan(1e-6);
      expect(evidence.basis).toContain('5-fold');
      expect(evidence.perClass.reduce((sum, { n }) => sum + n, 0)).toBe(72);
    }

    // A student learnt from four folds of five: its drop has to hold on the fifth alone, and the evidence says how many parts that is.
    const [student] = first.candidates;
    expect(student!.card.strategy).toBe('distill');
    const dropOf = ({ evidence }: (typeof first.candidates)[number]) =>
      evidence.gates.find(({ name }) => name === 'drop')!;
    expect(Number.parseFloat(dropOf(student!).bound!)).toBeGreaterThan(2 * Number.parseFloat(dropOf(last).bound!));
    const apart = /; the network was not fitted to (\d+) of them/;
    expect(Number(apart.exec(student!.evidence.basis)![1])).toBeLessThan(72 / 4);
    expect(last.evidence.basis).not.toMatch(apart);
    for (const { evidence } of first.candidates.slice(0, 2)) {
      expect(evidence.untouched).toContainEqual({ group: 'out', why: 'it is the output features' });
      expect(evidence.unknownOperators).toEqual({});
    }
    expect(last.evidence.untouched).toBeUndefined();

    // Shadow: the candidate beside another as the active one, as each of them alone would inspect the same frames.
    const [candidate] = first.candidates;
    const frames = input.images.map(({ sha, file }) => ({ sha, file }));
    const broken = join(folder, 'broken.png');
    await writeFile(broken, 'not a picture');
    const asked = {
      candidateDir: candidate!.dir,
      activeDir: last.dir,
      recipe: input.recipe,
      frames: [...frames, { sha: frames[0]!.sha, file: broken }],
      threads: 1,
      timeBudgetS: 1000,
      most: 3,
    };
    const shadow = await runShadow(asked);
    trainerMethods['trainer.shadow'].output.parse(shadow);
    const alone = async (bundleDir: string) => {
      await using inspector = await openInspector({ bundleDir, threads: 1 });
      const told: { verdict: string; classId: string | null }[] = [];
      for (const { file } of frames) {
        const { image } = await decodeImage(file, { name: file, maxPixels: 1e8 });
        const { verdict, classId } = await inspector.inspect(image, { recipe: input.recipe });
        told.push({ verdict, classId });
      }
      return told;
    };
    const [before, after] = [await alone(last.dir), await alone(candidate!.dir)];
    const differ = frames.flatMap(({ sha }, i) => {
      const [from, to] = [before[i]!, after[i]!];
      const equal = from.verdict === to.verdict && (from.verdict === 'unsure' || from.classId === to.classId);
      return equal ? [] : [{ imageSha: sha, from, to }];
    });
    expect(shadow).toEqual({
      judged: frames.length,
      unreadable: 1,
      outOfTime: false,
      disagreements: differ.length,
      examples: differ.slice(0, 3),
    });
    expect(await runShadow({ ...asked, activeDir: candidate!.dir })).toMatchObject({ disagreements: 0, examples: [] });
    expect(await runShadow({ ...asked, timeBudgetS: 1e-6 })).toMatchObject({ judged: 1, outOfTime: true });
    await expect(runShadow(asked, { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'CANCELLED' });
    // Of this process, which has done much else: node alone takes more than 30 MB.
    const { rssBytes } = await weighBundle({ bundleDir: candidate!.dir, threads: 1 });
    expect(rssBytes).toBeGreaterThan(30e6);

    const outDir = join(folder, 'again');
    await mkdir(outDir);
    const second = await compressStation(
      { ...input, outDir, activeBundleDir: last.dir, candidateIds: ['c2'], timeBudgetS: 1 },
      { measure },
    );
    expect(second.candidates).toHaveLength(1);
    const { evidence } = second.candidates[0]!;
    expect(evidence.gates.map(({ name }) => name)).toContain('recall');
    for (const { classId, active, deployed } of evidence.perClass) {
      // Like with like: the same labels in the same backbone, and not what was held out of one of them.
      expect(active, classId).toBeGreaterThan(0.5);
      expect(deployed, classId).toBe(active);
    }
    expect(evidence.basis).toContain('may have learnt');
    expect(evidence.dataSha256).toBe(last.evidence.dataSha256);
  }, 180_000);

  /** The uncompressed model alone. */
  const one = async (asked: Partial<CompressStationInput>) => {
    const outDir = await mkdtemp(join(folder, 'one-'));
    const alone = { ...input, outDir, candidateIds: ['c2'], timeBudgetS: 1, ...asked };
    return (await compressStation(alone, { measure })).candidates[0]!;
  };

  it('compares with an active model by the classes that this one knows', async () => {
    const [first] = CLASSES;
    const { dir } = await one({ images: input.images.filter(({ classId }) => classId !== first) });
    const { perClass } = (await one({ activeBundleDir: dir })).evidence;
    expect(perClass.map(({ classId, active }) => [classId, active === null])).toEqual(
      perClass.map(({ classId }) => [classId, classId === first]),
    );
    expect(perClass.every(({ deployed }) => typeof deployed === 'number')).toBe(true);
  }, 180_000);

  it('compares with an active model that tells classes apart which are one today', async () => {
    const [coarse, fine] = CLASSES;
    const { dir } = await one({});
    const images = input.images.map((image) => (image.classId === coarse ? { ...image, classId: fine } : image));
    const successors: [string, string][] = [[coarse, fine]];
    const { evidence, dir: candidateDir } = await one({ images, activeBundleDir: dir, successors });
    expect(evidence.perClass.find(({ classId }) => classId === fine)!.active).toBeGreaterThan(0.9);
    expect(evidence.changed.map(({ from }) => from.classId)).not.toContain(coarse);
    // Nor do the two differ there in a shadow run.
    const frames = input.images.map(({ sha, file }) => ({ sha, file }));
    const asked = {
      candidateDir,
      activeDir: dir,
      recipe: input.recipe,
      frames,
      threads: 1,
      timeBudgetS: 1000,
      most: 100,
    };
    const { examples } = await runShadow({ ...asked, successors });
    expect(examples.map(({ from }) => from.classId)).not.toContain(coarse);
    expect(examples.length).toBeLessThan(24);
    expect((await runShadow(asked)).disagreements).toBeGreaterThan(examples.length);
  }, 180_000);

  it('compares with an active model as that looks at parts, however they are looked at now', async () => {
    const { dir } = await one({});
    const activeOf = async (asked: Partial<CompressStationInput>) =>
      (await one({ ...asked, activeBundleDir: dir })).evidence.perClass.map(({ classId, active }) => [classId, active]);
    const region = { x: 0, y: 0, width: 8, height: 8 };
    const corners = {
      recipe: recipeSchema.parse({ rotation: 90, regions: [region] }),
      images: input.images.map((image) => ({ ...image, region })),
    };
    expect(await activeOf(corners)).toEqual(await activeOf({}));
  }, 180_000);

  it('recommends nothing that a gate refuses', async () => {
    // Each run's share of slow ones decides the gate of the 99th percentile, and leaves the median as it is.
    const recommended = async (name: string, slowOnes: readonly string[]) => {
      const outDir = join(folder, name);
      await mkdir(outDir);
      const criteria = criteriaSchema.parse({ maxDropPp: 100, maxLatencyMsP99: 50 });
      const { candidates, why } = await compressStation(
        { ...input, criteria, outDir, timeBudgetS: 1 },
        {
          measure: async (contenders, settings) => {
            const times = await measure(contenders, settings);
            for (const id of slowOnes) {
              const time = times.get(id);
              if (time) times.set(id, { ...time, samples: time.samples.map((ms, i) => (i % 10 === 0 ? 100 : ms)) });
            }
            return times;
          },
        },
      );
      const ids = candidates.filter((each) => each.recommended).map(({ card }) => card.id);
      return { ids, why, offered: candidates.filter(({ offered }) => offered).map(({ card }) => card.id) };
    };
    // How many are offered in a second is the machine's affair; the uncompressed one is the last.
    const free = await recommended('free', []);
    expect(free.offered).toContain('c2');
    expect(['c0', 'c1']).toContain(free.ids[0]);
    const refused = await recommended('refused', ['c0', 'c1']);
    expect(refused.offered.length).toBeGreaterThan(1);
    expect(refused).toMatchObject({ ids: ['c2'], why: expect.stringContaining('The uncompressed model') });
    const all = await recommended('all', ['c0', 'c1', 'c2']);
    expect(all).toMatchObject({ ids: [], why: expect.stringContaining('None') });
  }, 180_000);

  it('tells one loss of a candidate: that which it was judged by, in its reason and in its figures', async () => {
    const outDir = join(folder, 'one-loss');
    await mkdir(outDir);
    // Many labels are wrong, in no regular order: nothing is all right, and each way of holding parts out tells another loss.
    const wrong = (classId: string) => CLASSES[(CLASSES.findIndex((id) => id === classId) + 1) % CLASSES.length]!;
    const images = input.images.map((image, i) =>
      (i * i) % 7 < 2 ? { ...image, classId: wrong(image.classId) } : image,
    );
    const criteria = criteriaSchema.parse({ maxDropPp: 50 });
    const { candidates } = await compressStation({ ...input, images, criteria, outDir, timeBudgetS: 1 }, { measure });
    const told = candidates.flatMap(({ reason, evidence }) => {
      const [, pp, way] = /([\d.]+) pp (less|more) accurate in cross-validation/.exec(reason) ?? [];
      return pp === undefined ? [] : [{ lost: (way === 'less' ? 1 : -1) * Number(pp), evidence }];
    });
    expect(told.some(({ lost }) => lost !== 0)).toBe(true);
    for (const { lost, evidence } of told) {
      const { reference, candidate, accuracyDropPp } = evidence;
      expect(accuracyDropPp).toBeCloseTo(lost, 1);
      expect(100 * (reference.balancedAccuracy - candidate.balancedAccuracy)).toBeCloseTo(lost, 1);
    }
  }, 180_000);

  it('times what it tries with the threads of the line, whatever the trainer works with', async () => {
    const create = vi.spyOn(InferenceSession, 'create');
    const seen: number[] = [];
    const outDir = join(folder, 'threads');
    await mkdir(outDir);
    const asked = { ...input, outDir, timeBudgetS: 1, threads: 1, lineThreads: 2 };
    await compressStation(asked, {
      measure: (contenders, settings) => {
        // Sessions of the contenders are the last that were opened.
        const opened = create.mock.calls.slice(-contenders.length) as unknown as [
          unknown,
          { intraOpNumThreads: number },
        ][];
        if (contenders[0]!.name === 'reference')
          seen.push(...opened.map(([, { intraOpNumThreads }]) => intraOpNumThreads));
        return measure(contenders, settings);
      },
    });
    create.mockRestore();
    expect(seen.length).toBeGreaterThan(0);
    expect(new Set(seen)).toEqual(new Set([2]));
  }, 60_000);

  it('is cancelled, and refuses a station of one class', async () => {
    await expect(compressStation(input, { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'CANCELLED' });
    await expect(
      compressStation({ ...input, images: input.images.filter(({ classId }) => classId === CLASSES[1]) }),
    ).rejects.toMatchObject({ code: 'TOO_FEW_CLASSES' });
    const few = input.images.filter(({ classId }) => classId === 'plain').slice(0, 9);
    await expect(compressStation({ ...input, images: few })).rejects.toMatchObject({ code: 'TOO_FEW_CLASSES' });
  });

  it('makes a model of good parts alone, and does not compare a classifier with it', async () => {
    const good = input.images.filter(({ classId }) => classId === 'plain');
    const outDir = join(folder, 'good');
    await mkdir(outDir);
    const { candidates } = await compressStation({ ...input, images: good, outDir }, { measure });
    trainerMethods['trainer.compress'].output.parse({ candidates, why: '' });
    expect(candidates).toHaveLength(1);
    const { dir, card, evidence } = candidates[0]!;
    expect(evidence.environment).toEqual(describeEnvironment(2));
    expect(card).toMatchObject({ strategy: 'good-parts', classes: [{ id: 'plain', isOk: true }], knowledgeId: 'k1' });
    expect(evidence.gates.map(({ name, outcome }) => [name, outcome])).toEqual([
      ['escape', 'not-enough-evidence'],
      ['overkill', 'not-enough-evidence'],
      ['latency', 'pass'],
      ['parity', 'pass'],
    ]);
    expect(evidence.perClass).toEqual([expect.objectContaining({ classId: 'plain', n: 24 })]);
    // Whichever is least like the others is above what they go to.
    const { accuracy, interval } = evidence.candidate;
    expect(accuracy).toBeLessThan(1);
    expect(interval).toEqual(clopperPearson(Math.round(24 * accuracy), 24));
    const fileOf = (classId: string) => input.images.find((image) => image.classId === classId)!.file;
    const heat = (classId: string) =>
      heatMapOf({ bundleDir: dir, file: fileOf(classId), region: null, recipe: input.recipe, classId: 'plain' });
    const sum = (weights: readonly number[]) => weights.reduce((a, b) => a + b, 0);
    const [ours, other] = [await heat('plain'), await heat(CLASSES[1]!)];
    expect(ours.weights).toHaveLength(ours.width * ours.height);
    expect(Math.max(...other.weights)).toBe(255);
    expect(sum(other.weights)).toBeGreaterThan(0);

    expect(candidates[0]!.recommended).toBe(true);
    const slow = join(folder, 'good-slow');
    await mkdir(slow);
    const criteria = criteriaSchema.parse({ maxLatencyMsP99: 1e-6 });
    const refused = await compressStation({ ...input, images: good, criteria, outDir: slow }, { measure });
    expect(refused.candidates[0]).toMatchObject({ offered: true, recommended: false });

    const after = join(folder, 'after');
    await mkdir(after);
    const next = await compressStation(
      { ...input, outDir: after, activeBundleDir: dir, candidateIds: ['c2'], timeBudgetS: 1 },
      { measure },
    );
    expect(next.candidates[0]!.evidence.gates.map(({ name }) => name)).not.toContain('recall');
    expect(next.candidates[0]!.card.classes).toHaveLength(3);
  }, 120_000);
});
