import type { Candidate, Gate } from '../contract/domain.ts';
import { AppError } from '../contract/errors.ts';
import { bundleDirOf } from './bundle-folder.ts';
import { readEvidence } from './candidates.ts';
import type { CoreContext } from './context.ts';
import type { JobWork } from './jobs.ts';
import { withTrainer } from './trainer.ts';

export interface RecheckService {
  /**
   * Measures a model on this PC where its evidence was made on another processor, runtime or number of threads; what was measured is kept with the
   * candidate and told to the audit trail. Does nothing where it was measured on an equal PC, unless it is to be measured `always`.
   * @param options.job whose work it is; none: somebody waits for it
   * @throws TRAINER_FAILED, BUNDLE_ALTERED, MODEL_UNREADABLE, CANCELLED
   */
  measure(
    candidateId: string,
    by: string,
    options?: { always?: boolean; job?: Pick<JobWork, 'signal' | 'progress'> },
  ): Promise<Candidate>;
}

/** Gates of the last measuring here that fail. */
const failedHere = (candidate: Candidate): Gate[] =>
  candidate.recheck?.gates.filter(({ outcome }) => outcome === 'fail') ?? [];

/** @throws OTHER_ON_THIS_PC */
export const requireSameHere = (candidate: Candidate): void => {
  const failed = failedHere(candidate);
  if (failed.length === 0) return;
  const gates = failed.map(({ name, measured, limit }) => `${name} ${measured} (${limit})`).join(', ');
  throw new AppError('OTHER_ON_THIS_PC', { model: candidate.id, gates });
};

const ofNoJob = () => ({ signal: new AbortController().signal, progress: () => {} });

export const createRecheckService = (context: CoreContext): RecheckService => {
  const { store } = context;
  return {
    async measure(candidateId, by, { always = false, job = ofNoJob() } = {}) {
      const candidate = store.candidates.get(candidateId);
      const station = store.stations.get(candidate.stationId);
      const bundleDir = bundleDirOf(store.home, candidateId);
      const { sample } = await readEvidence(bundleDir);
      const files: { sha: string; file: string }[] = [];
      for (const { imageSha: sha } of sample?.pictures ?? []) {
        if (await store.images.has(sha)) files.push({ sha, file: store.images.pathOf(sha) });
      }
      const known = candidate.recheck;
      const measured = await withTrainer(context, job, (trainer) =>
        trainer.call(
          'trainer.recheck',
          {
            bundleDir,
            // One that failed is measured again: the PC may have been busy.
            measuredOn: known && failedHere(candidate).length === 0 ? [known.environment] : [],
            always,
            files,
            // As the line will run it.
            threads: station.threads,
            criteria: station.criteria,
          },
          { signal: job.signal },
        ),
      );
      if (measured === null) return candidate;
      store.transaction(() => {
        store.candidates.setRecheck(candidateId, { ...measured, at: context.now().toISOString() });
        store.audit.append({
          user: by,
          action: 'candidates.recheck',
          subject: candidateId,
          details: { ...measured, bundleSha256: candidate.bundleSha256 },
        });
      });
      context.emit('candidates.changed', { stationId: candidate.stationId });
      return store.candidates.get(candidateId);
    },
  };
};
