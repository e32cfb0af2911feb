import { setTimeout as sleep } from 'node:timers/promises';
import type { CameraConfig } from '../contract/domain.ts';
import { asAppError, type WireError } from '../contract/errors.ts';
import { previewJpeg } from '../vision/decode.ts';
import type { PixelImage } from '../vision/image.ts';
import type { Camera } from './camera.ts';
import { createNewestFile } from './folder/newest-file.ts';
import { createGigeCamera } from './gige/camera.ts';
import type { OpenCameraOptions } from './open-camera.ts';
import { createSimulatedCamera } from './simulated/camera.ts';
import { createUsbCamera } from './uvc/camera.ts';

/*
 * A camera that is looked at while its station is set up, and takes no parts: it runs freely, whatever starts a part on the line, and is left
 * as it was found.
 */

/** Four pictures a second, however fast the camera is. */
const PICTURE_MS = 250;
/** Longest side of what is shown, pixels. */
const SIDE = 960;

/** How the camera stands, and its newest picture; `width` and `height` are those of the whole frame, pixels. */
export type PreviewNews =
  | { kind: 'state'; state: 'starting' | 'delivering' | 'lost'; problem: WireError | null }
  | { kind: 'picture'; width: number; height: number; jpeg: Uint8Array<ArrayBuffer> };

type PreviewOptions = Pick<OpenCameraOptions, 'cameraId' | 'maxPixels' | 'openFeed' | 'settingsFile'>;

/** @param next number of the simulated line's next part: it is shown, and stays the next */
function createPreviewCamera(config: CameraConfig, options: PreviewOptions, next: number): Camera {
  switch (config.kind) {
    case 'simulated':
      return createSimulatedCamera(config, { next });
    case 'folder':
      return createNewestFile(config, options);
    case 'gige':
      return createGigeCamera({ ...config, trigger: { mode: 'off' } }, { ...options, putsBack: true });
    case 'usb':
      // Asked for picture by picture: a page would send each at its full size.
      return createUsbCamera({ ...config, discard: 0 }, { ...options, triggering: 'software' });
  }
}

/** Opens it; problems that may pass are told as states. @throws CAMERA_CONFIG for what cannot work */
export async function openPreview(
  config: CameraConfig,
  { next, tell, ...options }: PreviewOptions & { next: number; tell: (news: PreviewNews) => void },
): Promise<AsyncDisposable> {
  const camera = createPreviewCamera(config, options, next);
  const stop = new AbortController();
  const { signal } = stop;
  let waiting: PixelImage | null = null;
  let takenAt = -Infinity;
  let asked = false;
  let state: 'starting' | 'delivering' | 'lost' = 'starting';
  const wire = (error: unknown) => asAppError(error, 'capture').toWire('capture');

  await camera.open(
    {
      offer({ image }) {
        asked = false;
        if (performance.now() - takenAt < PICTURE_MS) return false;
        takenAt = performance.now();
        // Lent for the call alone.
        waiting = { ...image, data: image.data.slice() };
        return true;
      },
      whenFree: async () => {},
      missed: () => (asked = false),
    },
    {
      onState(now) {
        state = now.kind;
        asked = false;
        tell({ kind: 'state', state, problem: now.kind === 'lost' ? wire(now.problem) : null });
      },
      onRejected: ({ problem }) => tell({ kind: 'state', state, problem: wire(problem) }),
      onTrouble: (problem) => tell({ kind: 'state', state, problem: problem && wire(problem) }),
    },
  );
  const show = async () => {
    while (!signal.aborted) {
      // One that did not come is not waited for beyond the loss that tells of it.
      if (!asked && waiting === null) asked = camera.trigger?.() ?? false;
      const image = waiting;
      waiting = null;
      if (image !== null) {
        const { width, height } = image;
        tell({ kind: 'picture', width, height, jpeg: await previewJpeg(image, SIDE) });
      }
      await sleep(PICTURE_MS / 2, undefined, { signal }).catch(() => {});
    }
  };
  const showing = show().catch((error: unknown) => tell({ kind: 'state', state: 'lost', problem: wire(error) }));
  return {
    async [Symbol.asyncDispose]() {
      stop.abort();
      await camera.dispose();
      await showing;
    },
  };
}
