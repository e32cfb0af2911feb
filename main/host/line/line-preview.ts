import type { FromCapture } from '../../capture/capture-thread.ts';
import type { PreviewNews } from '../../capture/preview.ts';
import { AppError } from '../../contract/errors.ts';
import type { lineMethods } from '../../contract/line.ts';
import type { Previewed, PreviewQuestion } from '../../contract/preview.ts';
import type { CallOutput } from '../../contract/rpc/api.ts';
import { monotonicMs } from '../../inspection/inspector.ts';
import type { AskCapture } from './ask-capture.ts';
import type { Lane } from '../../contract/lane.ts';
import { optionsOf, refuseInDemo } from './line-camera.ts';
import { setupOf, type LineState } from './line-state.ts';

/** Whoever looks asks several times a second: one who does not is gone. */
const LEFT_MS = 5_000;
const LOOK_MS = 500;

type Answer = CallOutput<typeof lineMethods, 'line.preview'>;
type Picture = NonNullable<NonNullable<Answer>['picture']>;

interface Open extends Previewed {
  /** The configuration that it was opened with, as text. */
  config: string;
  picture: Picture | null;
  askedAt: number;
}

/** The line's camera while it is only looked at. All but `heard` and `dispose` within the line's exclusive lane. */
export function createLinePreview(line: LineState, { capture, exclusive }: { capture: AskCapture; exclusive: Lane }) {
  let open: Open | null = null;
  /** Counted on, so that no picture counts as seen already: also from one process to the next, for whoever goes on looking. */
  let pictures = Date.now();

  const close = async (): Promise<void> => {
    if (open === null) return;
    open = null;
    // A line that was started meanwhile has taken the camera over.
    if (line.state === 'stopped') await capture.ask({ kind: 'close' });
  };
  const openAnew = async ({ camera }: PreviewQuestion, config: string): Promise<Open> => {
    const at = setupOf(line);
    await refuseInDemo(at.home, camera);
    const made: Open = { config, state: 'starting', problem: null, picture: null, askedAt: monotonicMs() };
    open = made;
    const answer = await capture.ask({ kind: 'preview', camera, options: optionsOf(at) });
    if (answer?.kind === 'opened') return made;
    open = null;
    if (answer?.kind === 'refused') throw AppError.fromWire(answer.error);
    throw new AppError('TIMED_OUT', { what: 'the camera', seconds: capture.answerMs / 1000 });
  };
  const timer = setInterval(() => {
    if (open === null || monotonicMs() - open.askedAt < LEFT_MS) return;
    void exclusive(async () => {
      if (open !== null && monotonicMs() - open.askedAt >= LEFT_MS) await close();
    });
  }, LOOK_MS);

  return {
    /** @throws DEMO_FORBIDS, CAMERA_CONFIG, TIMED_OUT */
    async look(question: PreviewQuestion): Promise<Answer> {
      if (line.state !== 'stopped') return null;
      const config = JSON.stringify(question.camera);
      const at = open?.config === config ? open : await openAnew(question, config);
      at.askedAt = monotonicMs();
      const { state, problem, picture } = at;
      return { state, problem, picture: picture !== null && picture.number > question.after ? picture : null };
    },
    close,
    /** The line takes the camera over: its thread closes this one before. */
    over(): void {
      open = null;
    },
    heard({ id, news }: Extract<FromCapture, { kind: 'preview' }>): void {
      // What was under way when it was closed or opened anew.
      if (open !== null && capture.isWanted(id)) Object.assign(open, told(news));
    },
    dispose: () => clearInterval(timer),
  };

  function told(news: PreviewNews): Partial<Open> {
    if (news.kind === 'state') return { state: news.state, problem: news.problem };
    const { width, height, jpeg } = news;
    return { state: 'delivering', problem: null, picture: { number: (pictures += 1), width, height, jpeg } };
  }
}
