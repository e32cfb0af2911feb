import type { CameraConfig, Station } from '../contract/domain.ts';
import { AppError } from '../contract/errors.ts';
import type { MethodOutput } from '../contract/methods.ts';
import { actor, type CoreContext, type HandlersOf } from './context.ts';
import type { Lines } from './lines.ts';
import type { Session } from './port.ts';

/** Whoever looks asks several times a second: one who has not for so long is gone. */
const LEFT_MS = 3_000;

/** Who looks at a camera that is being set up. */
interface Viewer {
  sessionId: string;
  /** Infinity while a question is under way: the first one may have to start a process. */
  askedAt: number;
  /** The trail tells of it. */
  noted: boolean;
}

/**
 * Shows engineers what a station's camera sees while it is set up. One window at a time: two with different settings would open the camera in turns.
 * Pictures come from the line's process, which alone knows whether the line runs.
 */
export const createCameraPreview = (
  { store }: Pick<CoreContext, 'store'>,
  lines: Pick<Lines, 'preview' | 'endPreview'>,
): { handlers: HandlersOf<'cameras.preview' | 'cameras.endPreview'> } => {
  const viewers = new Map<string, Viewer>();

  /** @throws CAMERA_SHOWN while another window looks */
  const viewerOf = ({ id: stationId, name }: Station, { id: sessionId }: Session): Viewer => {
    const known = viewers.get(stationId);
    const isThere = known !== undefined && performance.now() - known.askedAt < LEFT_MS;
    if (isThere && known.sessionId === sessionId) return known;
    if (isThere) throw new AppError('CAMERA_SHOWN', { cameraId: name });
    const viewer: Viewer = { sessionId, askedAt: Infinity, noted: false };
    viewers.set(stationId, viewer);
    return viewer;
  };
  /** Whoever opens a camera may change, for that time, how it takes pictures. */
  const note = (viewer: Viewer, stationId: string, { kind }: CameraConfig, session: Session): void => {
    if (viewer.noted) return;
    store.transaction(() =>
      store.audit.append({
        user: actor(session),
        action: 'cameras.preview',
        subject: stationId,
        details: { camera: kind },
      }),
    );
    viewer.noted = true;
  };
  const look = async (
    stationId: string,
    question: { camera: CameraConfig; after: number },
    told: () => void,
  ): Promise<MethodOutput<'cameras.preview'>> => {
    const shown = await lines.preview(stationId, question);
    if (shown === null) return { state: 'line-runs', problem: null, picture: null };
    told();
    const picture = shown.picture && { ...shown.picture, jpeg: Buffer.from(shown.picture.jpeg).toString('base64') };
    return { ...shown, picture };
  };

  return {
    handlers: {
      async 'cameras.preview'({ stationId, camera, after }, session) {
        const viewer = viewerOf(store.stations.get(stationId), session);
        viewer.askedAt = Infinity;
        try {
          return await look(stationId, { camera, after }, () => note(viewer, stationId, camera, session));
        } finally {
          viewer.askedAt = performance.now();
        }
      },
      async 'cameras.endPreview'({ stationId }, session) {
        if (viewers.get(stationId)?.sessionId !== session.id) return {};
        viewers.delete(stationId);
        await lines.endPreview(stationId);
        return {};
      },
    },
  };
};
