import type { CameraConfig } from '../contract/domain.ts';
import type { Channel } from '../contract/rpc/channel.ts';
import type { Camera } from './camera.ts';
import { createFolderCamera } from './folder/camera.ts';
import { createGigeCamera } from './gige/camera.ts';
import { createSimulatedCamera } from './simulated/camera.ts';
import { createUsbCamera } from './uvc/camera.ts';

export interface OpenCameraOptions {
  cameraId: string;
  /** For cameras that remember what they have taken. */
  journalFile: string;
  /** For cameras whose settings lie in the camera: what they were set to before they were only looked at, until that is put back. */
  settingsFile: string;
  maxPixels: number;
  /**
   * What starts a picture: the camera itself (`free-run`), `trigger()` (`software`), or the input of the camera (`hardware`). A camera that cannot do
   * it refuses with CAMERA_CONFIG.
   */
  triggering: 'free-run' | 'software' | 'hardware';
  /** Pictures that are taken of each part: the simulated line shows the same one so often. */
  framesPerPart: number;
  /** A way to the page that reads USB cameras. */
  openFeed(): Channel;
}

/** @param position of the simulated line; see there. */
export function createCamera(config: CameraConfig, options: OpenCameraOptions, position: { next: number }): Camera {
  switch (config.kind) {
    case 'simulated':
      return createSimulatedCamera(config, position, options);
    case 'folder':
      return createFolderCamera(config, options);
    case 'gige':
      return createGigeCamera(config, options);
    case 'usb':
      return createUsbCamera(config, options);
  }
}
