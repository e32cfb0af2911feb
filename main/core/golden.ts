import { clopperPearson } from '../learning/exact-statistics.ts';
import { escapeGate, overkillGate } from '../compression/evidence/gates.ts';
import { canonicalJson, sha256 } from '../audit/canonical.ts';
import type { Candidate, Gate, GoldenResult } from '../contract/domain.ts';
import { AppError, isAppError, problemOf } from '../contract/errors.ts';
import type { goldenSchema } from '../contract/methods.ts';
import { decodeImage, encodePng } from '../vision/decode.ts';
import type { z } from 'zod';
import { bundleDirOf } from './bundle-folder.ts';
import { refuseAltered } from './candidates.ts';
import { mergedInto } from './class-successors.ts';
import type { ClassService } from './classes.ts';
import { actor, type CoreContext, type HandlersOf } from './context.ts';
import { goldenImages } from './golden-images.ts';
import { listSources } from './import.ts';
import type { JobService, JobWork } from './jobs.ts';
import { mergedImages } from './merged-sums.ts';
import { readSnapshot } from './snapshots.ts';
import { withTrainer } from './trainer.ts';

/*
 * A station's golden set: images that judge and never teach. They are locked from the moment they are taken in; an image that was learnt, or looks nearly like a learnt one, is refused, and one that
 * leaks later (a look-alike was labelled since) is left out of the figures and named. Every use is counted: a set that many candidates were tried on has chosen among them.
 */

export interface GoldenService {
  handlers: HandlersOf<'golden.show' | 'golden.gates' | 'golden.add' | 'candidates.golden'>;
  /** What an approval has to look at beside the evidence, and the figures that it then stands on, if any; empty where the station never had a set. GOLDEN_DUE. */
  decide(candidate: Candidate): { gates: Gate[]; figures: GoldenResult | undefined };
}

type Shown = z.output<typeof goldenSchema>;

/** Uses of one set from which on it has chosen among the candidates, and a new one is asked for. */
const MOST_USES = 20;

/** The station's set is retired, and no new one is there yet. */
const NO_SET: Gate = {
  name: 'golden-set',
  limit: '>= 1',
  measured: '0',
  bound: null,
  outcome: 'not-enough-evidence',
  missing: 0,
};

/** Of the images and classes of a set. */
export const goldenSetSha256 = (images: readonly { sha: string; classId: string }[]): string =>
  sha256(canonicalJson(images.map(({ sha, classId }) => [sha, classId])));

export const createGoldenService = (
  context: CoreContext,
  { jobs, classes }: { jobs: JobService; classes: Pick<ClassService, 'known' | 'forFolder'> },
): GoldenService => {
  const { store } = context;

  const show = (stationId: string): Shown => {
    store.stations.get(stationId);
    const facts = store.golden.facts(stationId);
    if (facts === null) return null;
    const images = goldenImages(store, stationId);
    const perClass = new Map<string, number>();
    for (const { classId } of images) perClass.set(classId, (perClass.get(classId) ?? 0) + 1);
    return {
      ...facts,
      images: images.length,
      perClass: [...perClass].map(([classId, count]) => ({ classId, images: count })),
      sha256: goldenSetSha256(images),
      refreshDue: facts.uses >= MOST_USES,
    };
  };
  const fileOf = (sha: string) => ({ sha, file: store.images.pathOf(sha) });
  /** Leaks, and with a bundle what it says. */
  const ask = (
    job: JobWork,
    stationId: string,
    shas: readonly string[],
    learnt: readonly string[],
    bundleDir: string | null,
  ) =>
    withTrainer(context, job, (trainer) =>
      trainer.call(
        'trainer.golden',
        {
          bundleDir,
          recipe: store.stations.get(stationId).recipe,
          golden: shas.map(fileOf),
          learnt: learnt.map(fileOf),
          threads: context.trainerThreads,
        },
        { signal: job.signal },
      ),
    );

  const add = async (
    job: JobWork,
    stationId: string,
    path: string,
    by: string,
    classOf: (folder: string) => string,
  ): Promise<string[]> => {
    const { backboneId, recipe } = store.stations.get(stationId);
    const { maxPixels } = recipe;
    const files = await listSources(path, true);
    const taken = new Map<string, { sha: string; classId: string; width: number; height: number; name: string }>();
    /** Of two classes: neither is locked. */
    const contradicting = new Set<string>();
    for (const [done, { file, name, className }] of files.entries()) {
      job.signal.throwIfAborted();
      job.progress((0.5 * done) / files.length, { key: 'golden.read', details: { done, total: files.length } });
      try {
        const classId = classOf(className ?? '');
        const { image } = await decodeImage(file, { name, maxPixels });
        const sha = await store.images.put(await encodePng(image));
        store.images.keep(sha);
        const other = taken.get(sha);
        if (other !== undefined && other.classId !== classId) {
          contradicting.add(sha);
          throw new AppError('CONTRADICTING_LABELS', { classes: `${other.classId}, ${classId}`, file: name });
        }
        taken.set(sha, { sha, classId, width: image.width, height: image.height, name });
      } catch (error) {
        if (isAppError(error, 'DISK_FULL') || isAppError(error, 'HOME_NOT_WRITABLE')) throw error;
        job.skip(
          name,
          isAppError(error) ? error : new AppError('IMAGE_UNREADABLE', { file: name, problem: problemOf(error) }),
        );
      }
    }
    for (const sha of contradicting) taken.delete(sha);
    const merged = await mergedImages(store, stationId, backboneId);
    const learnt = [
      ...store.labels.list(stationId).map(({ imageSha }) => imageSha),
      // What judged in a set before teaches now, whether it has a label still or not.
      ...store.golden.retired(stationId),
      // Of what is taken in itself the next update takes the picture out of the sums.
      ...merged.filter((sha) => !taken.has(sha)),
    ];
    const { leaks, looks } = await ask(job, stationId, [...taken.keys()], learnt, null);
    const refuse = (sha: string, like: string) => {
      const { name } = taken.get(sha)!;
      job.skip(name, new AppError('GOLDEN_LEAK', { file: name, like: like.slice(0, 12) }));
      taken.delete(sha);
    };
    const seen = taken.size;
    for (const { sha, like } of leaks) refuse(sha, like);
    const lookOf = new Map(looks.map(({ sha, look }) => [sha, look]));
    const at = context.now().toISOString();
    let added = 0;
    store.transaction(() => {
      // Labelled while the pictures were compared: they teach now.
      for (const sha of taken.keys()) if (store.labels.get(stationId, sha) !== null) refuse(sha, sha);
      const images = [...taken.values()].map((each) => ({ ...each, look: lookOf.get(each.sha) ?? null, label: null }));
      added = store.golden.add(stationId, images, { userName: by, at });
      const set = goldenSetSha256(goldenImages(store, stationId));
      store.audit.append({
        user: by,
        action: 'golden.add',
        subject: stationId,
        details: { path, added, files: files.length, leaks: seen - taken.size, set },
      });
      job.commit([String(added)]);
    });
    return [String(added)];
  };

  const judge = async (job: JobWork, candidate: Candidate, by: string): Promise<string[]> => {
    const { id, stationId, bundleSha256 } = candidate;
    const images = goldenImages(store, stationId);
    const truth = new Map(images.map(({ sha, classId }) => [sha, classId]));
    // A model that was made before classes were merged still names the one that is gone.
    const meaning = (classId: string | null) => classId && mergedInto(store, classId);
    const okIds = store.classes.okIds();
    const dir = bundleDirOf(store.home, id);
    await refuseAltered(dir, bundleSha256);
    const learnt = await readSnapshot(store, candidate.knowledgeId);
    const { results, leaks, unreadable } = await ask(job, stationId, [...truth.keys()], learnt, dir);
    await refuseAltered(dir, bundleSha256);
    const leaking = new Set(leaks.map(({ sha }) => sha));
    const judged = results.filter(({ sha }) => !leaking.has(sha));
    const good = judged.filter(({ sha }) => okIds.has(truth.get(sha)!));
    const bad = judged.filter(({ sha }) => !okIds.has(truth.get(sha)!));
    const wrongOf = (list: typeof judged, verdict: 'ok' | 'ng') => {
      const wrong = list.filter((each) => each.verdict === verdict).length;
      const [low, high] = clopperPearson(wrong, list.length);
      return { wrong, parts: list.length, low, high };
    };
    const setSha256 = goldenSetSha256(images);
    const at = context.now().toISOString();
    store.transaction(() => {
      const use = store.golden.recordUse({ stationId, candidateId: id, setSha256, userName: by, at });
      const golden: GoldenResult = {
        at,
        setSha256,
        use,
        ...(use >= MOST_USES && { refreshDue: true }),
        images: judged.length,
        leaks: leaks.length,
        unreadable: unreadable.length,
        unsure: judged.filter(({ verdict }) => verdict === 'unsure').length,
        rightClass: judged.filter(
          ({ sha, verdict, classId }) => verdict !== 'unsure' && meaning(classId) === truth.get(sha),
        ).length,
        escape: wrongOf(bad, 'ok'),
        overkill: wrongOf(good, 'ng'),
      };
      store.candidates.setGolden(id, golden);
      store.audit.append({ user: by, action: 'candidates.golden', subject: id, details: { ...golden, bundleSha256 } });
      job.commit([id]);
    });
    context.emit('candidates.changed', { stationId });
    return [id];
  };

  const gatesBy = ({ escape, overkill }: GoldenResult, stationId: string): Gate[] => {
    const { criteria } = store.stations.get(stationId);
    return [
      { ...escapeGate({ ng: escape.parts, escaped: escape.wrong }, criteria), name: 'golden-escape' },
      { ...overkillGate({ ok: overkill.parts, overkilled: overkill.wrong }, criteria), name: 'golden-overkill' },
    ];
  };

  /** Until there is a set again, what the one before it said of a candidate holds; whoever was not tried on it needs a reason to be approved. A refresh takes no failure away. */
  const gatesOf = ({ stationId, golden }: Candidate): { due: boolean; gates: Gate[]; figures?: GoldenResult } => {
    const set = show(stationId);
    const sets = set === null ? store.golden.retiredSets(stationId) : new Set([set.sha256]);
    if (golden !== undefined && sets.has(golden.setSha256))
      return { due: false, gates: gatesBy(golden, stationId), figures: golden };
    if (set !== null) return { due: true, gates: [] };
    if (sets.size === 0) return { due: false, gates: [] };
    // Tried on the set before it grew: enough to fail by, not to pass by.
    const failed = golden === undefined ? [] : gatesBy(golden, stationId).filter(({ outcome }) => outcome === 'fail');
    return { due: false, gates: [...failed, NO_SET] };
  };

  return {
    decide(candidate) {
      const { due, gates, figures } = gatesOf(candidate);
      if (due) throw new AppError('GOLDEN_DUE', { model: candidate.id });
      return { gates, figures };
    },
    handlers: {
      'golden.show': async ({ stationId }) => show(stationId),
      async 'golden.gates'({ candidateId }) {
        const { due, gates } = gatesOf(store.candidates.get(candidateId));
        return { due, gates };
      },
      async 'golden.add'({ stationId, path, newClasses }, session) {
        store.stations.get(stationId);
        const firstStep = { key: 'golden.read', details: {} };
        return jobs.start({ kind: 'golden', stationId, session, firstStep }, (job) =>
          add(
            job,
            stationId,
            path,
            actor(session),
            (folder) => (newClasses ? classes.forFolder(folder, session) : classes.known(folder)).id,
          ),
        );
      },
      async 'candidates.golden'({ candidateId }, session) {
        const candidate = store.candidates.get(candidateId);
        const { stationId } = candidate;
        if (show(stationId) === null) throw new AppError('NOT_FOUND', { kind: 'golden set', id: stationId });
        const firstStep = { key: 'golden.judge', details: {} };
        const what = { kind: 'golden', stationId, session, firstStep, asked: candidateId } as const;
        return jobs.underWay(what) ?? jobs.start(what, (job) => judge(job, candidate, actor(session)));
      },
    },
  };
};
