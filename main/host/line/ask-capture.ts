import type { FromCapture, ToCapture } from '../../capture/capture-thread.ts';

const ANSWER_MS = 15_000;

type Opening = Extract<ToCapture, { kind: 'open' }>;
type Look = Extract<ToCapture, { kind: 'preview' }>;
/** What is asked of the capture thread: a camera to open, or the open one to close. */
export type CaptureQuestion = Omit<Opening, 'id'> | Omit<Look, 'id'> | { kind: 'close' };
export type CaptureAnswer = Extract<FromCapture, { kind: 'opened' | 'refused' | 'closed' }>;

export interface AskCapture {
  readonly answerMs: number;
  /** null: no answer came in time. Then the question is given up: what it opens nevertheless is closed, and says nothing any more. */
  ask(question: CaptureQuestion): Promise<CaptureAnswer | null>;
  answered(answer: CaptureAnswer): void;
  /** Whether the camera that speaks is the one that was asked for last, and is still wanted. */
  isWanted(id: number): boolean;
}

/** Questions to the capture thread, one at a time (the line's calls are exclusive). An answer that comes late is that of no other question. */
export function createAskCapture(send: (message: ToCapture) => void, answerMs = ANSWER_MS): AskCapture {
  let last = 0;
  let wanted: number | null = null;
  let waiting: { id: number; settle: (answer: CaptureAnswer) => void } | null = null;
  return {
    answerMs,
    ask(question) {
      last += 1;
      const id = last;
      if (question.kind !== 'close') wanted = id;
      return new Promise((resolve) => {
        const timer = setTimeout(() => {
          waiting = null;
          wanted = null;
          send({ kind: 'give-up', id });
          resolve(null);
        }, answerMs);
        const settle = (answer: CaptureAnswer) => {
          clearTimeout(timer);
          waiting = null;
          resolve(answer);
        };
        waiting = { id, settle };
        send({ ...question, id });
      });
    },
    answered(answer) {
      if (answer.id === waiting?.id) waiting.settle(answer);
    },
    isWanted: (id) => id === wanted,
  };
}
