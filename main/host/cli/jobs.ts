import type { Job } from '../../contract/domain.ts';
import { AppError } from '../../contract/errors.ts';
import type { CoreClient } from './accounts.ts';
import type { Context } from './context.ts';

/** Waits for a job's end and shows its progress; one that failed, or was paused for it, throws its problem; Ctrl-C cancels it. */
export async function followJob(context: Context, client: CoreClient, job: Job): Promise<Job> {
  const ended = Promise.withResolvers<Job>();
  const cancel = () =>
    void client.call('jobs.cancel', { jobId: job.id }).catch(() => {
      // Refused where nobody is signed in, as while a demo is made: the job ends with the core.
      ended.reject(new AppError('CANCELLED'));
    });
  const settle = (state: Job) => {
    if (state.id !== job.id) return;
    const left = state.secondsLeft === null ? '' : `, ${Math.ceil(state.secondsLeft)} s left`;
    const paused = state.state === 'paused' ? ', paused in the window' : '';
    context.out.progress(`${state.kind}: ${(100 * state.progress).toFixed(0)} %${left}${paused}`);
    if (state.state === 'done') ended.resolve(state);
    else if (state.state === 'cancelled') ended.reject(new AppError('CANCELLED'));
    // What a low disk paused is not waited for: it is kept, and resumed in the window.
    else if (state.state === 'failed' || (state.state === 'paused' && state.problem !== null)) {
      ended.reject(
        AppError.fromWire({
          code: 'INTERNAL',
          message: 'failed',
          nextAction: '',
          details: {},
          ...state.problem,
          ref: job.id,
        }),
      );
    }
  };
  client.on('jobs.progressed', settle);
  client.onClose(() => ended.reject(new AppError('DISCONNECTED', { peer: 'core' })));
  // It may have ended before we listened.
  client.call('jobs.list', {}).then((jobs) => jobs.forEach(settle), ended.reject);
  context.signal.addEventListener('abort', cancel, { once: true });
  // Ctrl-C may have come while the job was asked for.
  if (context.signal.aborted) cancel();
  try {
    return await ended.promise;
  } finally {
    context.signal.removeEventListener('abort', cancel);
  }
}
