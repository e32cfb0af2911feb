import type { FromCapture, ToCapture } from '../../capture/capture-thread.ts';
import { AppError } from '../../contract/errors.ts';

const TIMEOUT_MS = 15_000;

export type CaptureAnswer = Extract<FromCapture, { kind: 'opened' | 'refused' | 'closed' }>;

/** Questions to the capture thread, one at a time (the line's calls are exclusive). */
export function createAskCapture(send: (message: ToCapture) => void) {
  let waiting: ((answer: CaptureAnswer) => void) | null = null;
  return {
    /** @throws TIMED_OUT */
    ask: (message: ToCapture): Promise<CaptureAnswer> =>
      new Promise((resolve, reject) => {
        const timer = setTimeout(() => {
          waiting = null;
          reject(new AppError('TIMED_OUT', { what: 'the camera', seconds: TIMEOUT_MS / 1000 }));
        }, TIMEOUT_MS);
        waiting = (answer) => {
          clearTimeout(timer);
          waiting = null;
          resolve(answer);
        };
        send(message);
      }),
    answered: (answer: CaptureAnswer) => waiting?.(answer),
  };
}
