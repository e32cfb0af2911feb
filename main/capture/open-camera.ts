import type { CameraConfig } from '../contract/domain.ts';
import type { Camera } from './camera.ts';
import { createFolderCamera } from './folder/camera.ts';
import { createSimulatedCamera } from './simulated/camera.ts';

export interface OpenCameraOptions {
  cameraId: string;
  /** For cameras that remember what they have taken. */
  journalFile: string;
  maxPixels: number;
}

/** @param position of the simulated line; see there. */
export function createCamera(config: CameraConfig, options: OpenCameraOptions, position: { next: number }): Camera {
  switch (config.kind) {
    case 'simulated':
      return createSimulatedCamera(config, position);
    case 'folder':
      return createFolderCamera(config, options);
  }
}
