import { join } from 'node:path';
import { AppError } from '../../contract/errors.ts';
import { monotonicMs } from '../../inspection/inspector.ts';
import { isDemoHome } from './active-model.ts';
import type { CaptureAnswer } from './ask-capture.ts';
import type { ToCapture } from '../../capture/capture-thread.ts';
import { lateAfterMs, type LineState, type Setup } from './line-state.ts';
import type { Problems } from './problems.ts';

/** A demo never drives or reads real equipment. */
const DEMO_CAMERAS: readonly string[] = ['simulated', 'folder'];
/** Pictures of the last parts may still be on their way to the disk when the line stops. */
const DRAIN_MS = 5_000;

/** Opens and closes the line's camera, which the capture thread owns. */
export function createLineCamera(
  line: LineState,
  { ask, problems }: { ask: (message: ToCapture) => Promise<CaptureAnswer>; problems: Problems },
) {
  return {
    async close(): Promise<void> {
      if (line.state === 'stopped') return;
      await ask({ kind: 'close' });
      const until = monotonicMs() + DRAIN_MS;
      while (line.setup && line.setup.outbox.waiting > 0 && monotonicMs() < until) {
        await new Promise((resolve) => setTimeout(resolve, 20));
        line.setup.outbox.flush();
      }
      line.setup?.outbox.flush();
      line.state = 'stopped';
      line.camera = 'off';
      problems.set('camera', null);
      problems.set('frames', null);
      line.changed = true;
    },
    /** @throws DEMO_FORBIDS, TIMED_OUT, what the camera says */
    async open({ home, station }: Setup): Promise<void> {
      if (!DEMO_CAMERAS.includes(station.camera.kind) && (await isDemoHome(home))) {
        throw new AppError('DEMO_FORBIDS', { what: `a ${station.camera.kind} camera` });
      }
      line.state = 'starting';
      line.camera = 'busy';
      const answer = await ask({
        kind: 'open',
        camera: station.camera,
        options: {
          cameraId: station.name,
          journalFile: join(home, 'spool', `${encodeURIComponent(station.id)}.taken`),
          maxPixels: station.recipe.maxPixels,
        },
        intake: {
          trigger: station.line.trigger,
          dropPolicy: station.line.dropPolicy,
          frames: station.line.frames,
          deadlineMs: lateAfterMs(station),
        },
      });
      if (answer.kind === 'refused') {
        line.state = 'stopped';
        line.camera = 'fault';
        problems.set('camera', answer.error);
        throw AppError.fromWire(answer.error);
      }
    },
  };
}
