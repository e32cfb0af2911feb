import { randomUUID } from 'node:crypto';
import { mkdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { bundleDigest } from '../audit/approval.ts';
import { takeBackBegun } from '../compression/plan/begun.ts';
import { evidenceSchema, type Candidate, type Evidence, type Station } from '../contract/domain.ts';
import { AppError, assert } from '../contract/errors.ts';
import type { Budget } from '../contract/methods.ts';
import type { trainerMethods } from '../contract/trainer.ts';
import { nodeFiles, syncFile } from '../store/files.ts';
import type { Backbones } from './backbones.ts';
import { bundleDirOf, readCard } from './bundle-folder.ts';
import { classSuccessors, mergedInto } from './class-successors.ts';
import { actor, type CoreContext, type HandlersOf } from './context.ts';
import { currentKnowledge } from './current-knowledge.ts';
import { featureFileOf } from './feature-file.ts';
import type { JobService, JobWork } from './jobs.ts';
import type { MergedSums } from './merged-sums.ts';
import { samplesOf } from './samples.ts';
import { isTrainerLost, withTrainer } from './trainer.ts';

const BUDGET_S: Record<Budget, number> = { quick: 90, lunch: 2_400, overnight: 28_800 };
/** More than any search offers. */
const CANDIDATES_AT_MOST = 16;

type Made = z.output<(typeof trainerMethods)['trainer.compress']['output']>['candidates'][number];

export interface CandidateService {
  handlers: HandlersOf<'candidates.create' | 'candidates.list' | 'candidates.show' | 'candidates.submit'>;
  /** Compresses the newest knowledge; gives the candidates' ids, recommended first. All of them are kept, or none. */
  compress(job: JobWork, stationId: string, budgetS: number, by: string): Promise<string[]>;
}

/** What a job of compression was asked, as it is kept for the next run. */
const requestSchema = z.object({
  stationId: z.string(),
  budgetS: z.number().positive(),
  by: z.string(),
  /** How often it was begun. */
  begun: z.number().int().min(0),
  /** Somebody ended the search: the best that it has found is finished. */
  enough: z.boolean().default(false),
});

/** A job that brings its process, or the whole PC, down each time is given up. */
const MOST_BEGUN = 8;

/** @throws BUNDLE_ALTERED unless the bundle is still what its row says */
export const refuseAltered = async (bundleDir: string, bundleSha256: string): Promise<void> => {
  if ((await bundleDigest(bundleDir)) !== bundleSha256) throw new AppError('BUNDLE_ALTERED', { file: bundleDir });
};

/** The evidence as it lies in the bundle: what is signed, whatever the database says. BUNDLE_ALTERED. */
export const readEvidence = async (bundleDir: string): Promise<Evidence> => {
  const file = join(bundleDir, 'evidence.json');
  try {
    return evidenceSchema.parse(JSON.parse(await readFile(file, 'utf8')));
  } catch (cause) {
    throw new AppError('BUNDLE_ALTERED', { file }, { cause });
  }
};

export const createCandidateService = (
  context: CoreContext,
  backbones: Backbones,
  jobs: JobService,
  merged: Pick<MergedSums, 'settle'>,
): CandidateService => {
  const { store } = context;

  /** Moves one made bundle to its place; everything in it is on the disk before the name is. */
  const keep = async (made: Made, station: Station, knowledgeId: string, backboneId: string): Promise<Candidate> => {
    const card = await readCard(made.dir);
    assert(card.id === made.card.id, 'the trainer writes the card that it returns');
    assert(card.demo === store.demo && card.stationId === station.id, 'the trainer marks the card as it was told');
    const evidence = await readEvidence(made.dir);
    for (const name of ['model.onnx', 'model.json', 'evidence.json']) await syncFile(join(made.dir, name));
    await nodeFiles.syncDirectory(made.dir);
    const bundleSha256 = await bundleDigest(made.dir);
    await rename(made.dir, bundleDirOf(store.home, card.id));
    return {
      id: card.id,
      stationId: station.id,
      state: 'candidate',
      createdAt: context.now().toISOString(),
      knowledgeId,
      backboneId,
      strategy: card.strategy,
      precision: card.precision,
      ratio: made.ratio,
      inputSize: card.inputSize,
      bundleSha256,
      offered: made.offered,
      recommended: made.recommended,
      reason: made.reason,
      evidence,
      approval: null,
      rejection: null,
      activatedAt: null,
    };
  };

  const workDirOf = (jobId: string): string => join(store.home, 'work', jobId);

  /** Begins, and begins again when the trainer's process ended: what it had measured is kept. */
  const compressResumable = async (job: JobWork, request: unknown): Promise<string[]> => {
    let asked = requestSchema.parse(request);
    // After a core that was killed the trainer may still be at the job of that time.
    if (asked.begun > 0) await context.processes.stop('trainer');
    for (;;) {
      if (asked.begun === MOST_BEGUN) throw new AppError('JOB_INTERRUPTED', { kind: 'compress' });
      const before = asked;
      asked = { ...asked, begun: asked.begun + 1 };
      jobs.remember(job.id, asked);
      const workDir = workDirOf(job.id);
      await mkdir(workDir, { recursive: true });
      try {
        return await compress(job, asked.stationId, asked.budgetS, asked.by, { workDir, enough: asked.enough });
      } catch (error) {
        // Ended in order, paused or with the program: that does not count.
        if (job.signal.aborted) {
          jobs.remember(job.id, before);
          await takeBackBegun(workDir).catch((problem: unknown) => context.log.warn('count of tries', { problem }));
        }
        if (job.signal.aborted || asked.begun === MOST_BEGUN || !isTrainerLost(error)) throw error;
        context.log.warn('trainer ended; job taken up again', { job: job.id, begun: asked.begun });
      }
    }
  };

  const compress = async (
    job: JobWork,
    stationId: string,
    budgetS: number,
    by: string,
    { workDir, enough }: { workDir: string | null; enough: boolean } = { workDir: null, enough: false },
  ): Promise<string[]> => {
    const station = store.stations.get(stationId);
    const knowledge = currentKnowledge(store, station);
    const backbone = await backbones.get(knowledge.backboneId);
    const today = new Map(store.classes.list().map(({ id }) => [id, mergedInto(store, id)]));
    const learnt = new Map(
      store.labels
        .list(stationId)
        .map(({ imageSha, learntClassId }) => [imageSha, learntClassId && today.get(learntClassId)]),
    );
    // Only what this knowledge has learnt, under what its class is called today: a label given since then is not part of it. Whether its features are there does not matter, pictures are
    // read anew: another station that un-learns a picture takes them away.
    const images = (await samplesOf(store, station)).filter((sample) => learnt.get(sample.sha) === sample.classId);
    const exports = await merged.settle(job, stationId, by);
    const known = new Set(knowledge.classes.flatMap(({ classId }) => [classId, today.get(classId)]));
    const outDir = join(store.home, 'bundles', `.making-${randomUUID().slice(0, 8)}`);
    const candidateIds = Array.from({ length: CANDIDATES_AT_MOST }, () => `m-${randomUUID().slice(0, 12)}`);
    await mkdir(outDir);
    const moved: string[] = [];
    try {
      const { candidates, why } = await withTrainer(context, job, (trainer) =>
        trainer.call(
          'trainer.compress',
          {
            backbone,
            recipe: station.recipe,
            classes: store.classes.list().filter((each) => known.has(each.id)),
            images,
            criteria: station.criteria,
            threads: context.trainerThreads,
            lineThreads: station.threads,
            outDir,
            featureFile: featureFileOf(store.home, backbone.id),
            exports,
            successors: classSuccessors(store),
            knowledgeDir: join(store.home, 'knowledge', knowledge.id),
            knowledgeId: knowledge.id,
            stationId,
            demo: store.demo,
            timeBudgetS: budgetS,
            activeBundleDir: station.activeModelId === null ? null : bundleDirOf(store.home, station.activeModelId),
            candidateIds,
            workDir,
            enough,
            costsDir: join(store.home, 'costs'),
          },
          { signal: job.signal },
        ),
      );
      const rows: Candidate[] = [];
      for (const made of candidates) {
        assert(candidateIds.includes(made.card.id), 'candidates are named by the ids that the core gave');
        moved.push(made.card.id);
        rows.push(await keep(made, station, knowledge.id, backbone.id));
      }
      await nodeFiles.syncDirectory(join(store.home, 'bundles'));
      const ids = rows.toSorted((a, b) => Number(b.recommended) - Number(a.recommended)).map((row) => row.id);
      store.transaction(() => {
        for (const row of rows) store.candidates.insert(row);
        store.audit.append({
          user: by,
          action: 'candidates.create',
          subject: stationId,
          details: { candidates: rows.map((row) => row.id), knowledgeId: knowledge.id, why },
        });
        job.commit(ids);
      });
      context.emit('candidates.changed', { stationId });
      return ids;
    } catch (error) {
      for (const id of moved) await rm(bundleDirOf(store.home, id), { recursive: true, force: true });
      throw error;
    } finally {
      await rm(outDir, { recursive: true, force: true });
    }
  };

  jobs.resumable('compress', {
    work: compressResumable,
    ended: (jobId) => rm(workDirOf(jobId), { recursive: true, force: true }),
    early: {
      isPossible: ({ key }) => key === 'compress.try',
      ask: (request) => ({ ...requestSchema.parse(request), enough: true }),
    },
  });

  return {
    compress,
    handlers: {
      async 'candidates.create'({ stationId, budget, timeBudgetS = BUDGET_S[budget] }, session) {
        store.stations.get(stationId);
        if (store.knowledge.newest(stationId) === null) throw new AppError('NO_KNOWLEDGE', { stationId });
        const firstStep = { key: 'compress.preparing', details: {} };
        const what = { kind: 'compress', stationId, session, firstStep } as const;
        const underWay = jobs.underWay(what);
        if (underWay !== null) return underWay;
        if (jobs.paused('compress', stationId) !== null) {
          const needed = 'it to be resumed or discarded first';
          throw new AppError('CONFLICT', { what: 'the compression of this station', state: 'paused', needed });
        }
        const request: z.infer<typeof requestSchema> = {
          stationId,
          budgetS: timeBudgetS,
          by: actor(session),
          begun: 0,
          enough: false,
        };
        return jobs.startResumable(what, request);
      },
      async 'candidates.list'({ stationId }) {
        store.stations.get(stationId);
        return store.candidates.list(stationId);
      },
      'candidates.show': async ({ candidateId }) => store.candidates.get(candidateId),
      async 'candidates.submit'({ candidateId }, session) {
        const candidate = store.candidates.get(candidateId);
        if (candidate.state === 'submitted') return candidate;
        if (candidate.state !== 'candidate' || !candidate.offered) {
          const state = candidate.offered ? candidate.state : 'not offered';
          throw new AppError('CONFLICT', { what: `candidate ${candidateId}`, state, needed: 'an offered candidate' });
        }
        store.transaction(() => {
          store.candidates.setState(candidateId, 'submitted');
          store.audit.append({ user: actor(session), action: 'candidates.submit', subject: candidateId });
        });
        context.emit('candidates.changed', { stationId: candidate.stationId });
        return store.candidates.get(candidateId);
      },
    },
  };
};
