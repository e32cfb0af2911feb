import { shadowSchema, type Shadow } from '../contract/domain.ts';
import { AppError, problemOf } from '../contract/errors.ts';
import { bundleDirOf } from './bundle-folder.ts';
import { refuseAltered } from './candidates.ts';
import { classSuccessors } from './class-successors.ts';
import { actor, type CoreContext, type HandlersOf } from './context.ts';
import type { JobService, JobWork } from './jobs.ts';
import { withTrainer } from './trainer.ts';

/** Disagreements that are kept as examples: more than anybody looks through before signing. */
const EXAMPLES = 60;

/**
 * Shadow running of candidates that are not approved: in the trainer's process and at its priority, on frames that are in the archive already. It reads
 * them; parts, verdicts, queue and line stay as they are.
 */
export const createShadowService = (
  context: CoreContext,
  jobs: JobService,
): { handlers: HandlersOf<'candidates.shadow'> } => {
  const { store, processes, log } = context;

  /** Both alike: each in a process that was started for it and has done nothing else. null: not to be had, and the rest of the result stands. */
  const weigh = async (job: JobWork, candidateDir: string, activeDir: string): Promise<Shadow['memory'] | null> => {
    const bytesOf = async (bundleDir: string): Promise<number> => {
      await processes.stop('trainer');
      const { rssBytes } = await withTrainer(context, job, (trainer) =>
        trainer.call('trainer.weigh', { bundleDir, threads: context.trainerThreads }, { signal: job.signal }),
      );
      return rssBytes;
    };
    job.progress(0.99, { key: 'shadow.weigh', details: {} });
    try {
      return { candidateBytes: await bytesOf(candidateDir), activeBytes: await bytesOf(activeDir) };
    } catch (error) {
      job.signal.throwIfAborted();
      log.warn('memory of the models not measured', { problem: problemOf(error) });
      return null;
    } finally {
      await processes.stop('trainer').catch((error: unknown) => log.warn('trainer did not stop', { error }));
    }
  };
  /** What is compared, as things are now. @throws CONFLICT, NO_ACTIVE_MODEL, TOO_FEW_IMAGES */
  const compared = (candidateId: string, wanted: number) => {
    const candidate = store.candidates.get(candidateId);
    const { stationId } = candidate;
    if (candidate.state !== 'candidate' && candidate.state !== 'submitted') {
      throw new AppError('CONFLICT', {
        what: `candidate ${candidateId}`,
        state: candidate.state,
        needed: 'a candidate that is not decided on',
      });
    }
    const { activeModelId, recipe } = store.stations.get(stationId);
    if (activeModelId === null) throw new AppError('NO_ACTIVE_MODEL', { stationId });
    const shas = store.parts.archived(stationId, wanted);
    if (shas.length === 0) {
      throw new AppError('TOO_FEW_IMAGES', { what: 'archived frames', found: 0, needed: 1, missing: 1 });
    }
    return { candidate, activeModelId, recipe, shas };
  };
  return {
    handlers: {
      async 'candidates.shadow'({ candidateId, frames: wanted, timeBudgetS }, session) {
        const { stationId } = compared(candidateId, wanted).candidate;
        const firstStep = { key: 'shadow.preparing', details: {} };
        const what = { kind: 'shadow', stationId, session, firstStep, asked: candidateId } as const;
        const underWay = jobs.underWay(what);
        if (underWay !== null) return underWay;
        const by = actor(session);
        return jobs.start(what, async (job) => {
          // While it waited for its turn, another model may have become the active one, or the candidate decided on.
          const { candidate, activeModelId, recipe, shas } = compared(candidateId, wanted);
          const [candidateDir, activeDir] = [candidateId, activeModelId].map((each) =>
            bundleDirOf(store.home, each),
          ) as [string, string];
          await refuseAltered(candidateDir, candidate.bundleSha256);
          const result = await withTrainer(context, job, (trainer) =>
            trainer.call(
              'trainer.shadow',
              {
                candidateDir,
                activeDir,
                recipe,
                frames: shas.map((sha) => ({ sha, file: store.images.pathOf(sha) })),
                threads: context.trainerThreads,
                timeBudgetS,
                most: EXAMPLES,
                successors: classSuccessors(store),
              },
              { signal: job.signal },
            ),
          );
          const memory = await weigh(job, candidateDir, activeDir);
          await refuseAltered(candidateDir, candidate.bundleSha256);
          // Whoever approves looks at them: the line's ring may not take them any more. What it took meanwhile is shown to nobody.
          for (const { imageSha } of result.examples) store.images.keep(imageSha);
          const there = await Promise.all(result.examples.map(({ imageSha }) => store.images.has(imageSha)));
          const labels = new Map(store.labels.list(stationId).map((label) => [label.imageSha, label.classId]));
          const shadow = shadowSchema.parse({
            ...result,
            ...(memory && { memory }),
            at: context.now().toISOString(),
            activeModelId,
            examples: result.examples
              .filter((_, i) => there[i])
              .map((each) => ({ ...each, truthClassId: labels.get(each.imageSha) ?? null })),
          });
          store.transaction(() => {
            store.candidates.setShadow(candidateId, shadow);
            const { examples: _, ...counts } = shadow;
            store.audit.append({
              user: by,
              action: 'candidates.shadow',
              subject: candidateId,
              details: { ...counts, bundleSha256: candidate.bundleSha256 },
            });
          });
          context.emit('candidates.changed', { stationId });
          return [candidateId];
        });
      },
    },
  };
};
