import { join } from 'node:path';
import type { CameraConfig } from '../../contract/domain.ts';
import { AppError } from '../../contract/errors.ts';
import { monotonicMs } from '../../inspection/inspector.ts';
import { isDemoHome } from './active-model.ts';
import type { AskCapture } from './ask-capture.ts';
import { lateAfterMs, type LineState, type Setup } from './line-state.ts';
import type { Problems } from './problems.ts';

/** A demo never drives or reads real equipment. */
const DEMO_CAMERAS: readonly string[] = ['simulated', 'folder'];
/** Pictures of the last parts may still be on their way to the disk when the line stops. */
const DRAIN_MS = 5_000;

/** @throws DEMO_FORBIDS */
export async function refuseInDemo(home: string, { kind }: CameraConfig): Promise<void> {
  if (!DEMO_CAMERAS.includes(kind) && (await isDemoHome(home)))
    throw new AppError('DEMO_FORBIDS', { what: `a ${kind} camera` });
}

/** Of a station's camera, whether its line runs or it is only looked at. */
export const optionsOf = ({ home, station }: Pick<Setup, 'home' | 'station'>) => ({
  cameraId: station.name,
  maxPixels: station.recipe.maxPixels,
  settingsFile: join(home, 'spool', `${encodeURIComponent(station.id)}.settings-before`),
});

/** Cameras whose connection is kept by the thread that would stop for them: they would be lost by waiting. */
const RESTLESS_CAMERAS: readonly string[] = ['gige', 'usb'];

const dropPolicyOf = ({ camera, line }: Setup['station']) =>
  line.dropPolicy === 'block' && RESTLESS_CAMERAS.includes(camera.kind) ? 'drop-newest' : line.dropPolicy;

/** Opens and closes the line's camera, which the capture thread owns. */
export function createLineCamera(
  line: LineState,
  { capture, problems }: { capture: Pick<AskCapture, 'ask' | 'answerMs'>; problems: Problems },
) {
  const seconds = capture.answerMs / 1000;
  const stand = (problem: AppError | null) => {
    line.state = 'stopped';
    line.camera = problem === null ? 'off' : 'fault';
    problems.set('camera', problem);
    line.changed = true;
  };
  return {
    /** The line stands afterwards, also where the camera does not let go: that is told as a problem, and the next start waits for it. */
    async close(): Promise<void> {
      if (line.state === 'stopped') return;
      const answer = await capture.ask({ kind: 'close' });
      const until = monotonicMs() + DRAIN_MS;
      while (line.setup && line.setup.outbox.waiting > 0 && monotonicMs() < until) {
        await new Promise((resolve) => setTimeout(resolve, 20));
        line.setup.outbox.flush();
      }
      line.setup?.outbox.flush();
      const cameraId = line.setup?.station.name ?? '';
      stand(answer === null ? new AppError('CAMERA_CLOSES_SLOWLY', { cameraId, seconds }) : null);
      problems.set('frames', null);
    },
    /** Of a station whose camera `refuseInDemo` let pass. @throws CAMERA_OPENS_SLOWLY, what the camera says: then the line stands */
    async open({ home, station }: Setup): Promise<void> {
      line.state = 'starting';
      line.camera = 'busy';
      const answer = await capture.ask({
        kind: 'open',
        camera: station.camera,
        options: {
          ...optionsOf({ home, station }),
          journalFile: join(home, 'spool', `${encodeURIComponent(station.id)}.taken`),
        },
        intake: {
          trigger: station.line.trigger,
          dropPolicy: dropPolicyOf(station),
          frames: station.line.frames,
          deadlineMs: lateAfterMs(station),
        },
      });
      if (answer?.kind === 'opened') return;
      const problem =
        answer?.kind === 'refused'
          ? AppError.fromWire(answer.error)
          : new AppError('CAMERA_OPENS_SLOWLY', { cameraId: station.name, seconds });
      stand(problem);
      throw problem;
    },
  };
}
