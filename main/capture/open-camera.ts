import type { CameraConfig } from '../contract/domain.ts';
import type { Camera } from './camera.ts';
import { createFolderCamera } from './folder/camera.ts';
import { createSimulatedCamera } from './simulated/camera.ts';

export interface OpenCameraOptions {
  cameraId: string;
  /** For cameras that remember what they have taken. */
  journalFile: string;
  maxPixels: number;
  /** Simulated line: number of the first part. */
  firstPart: number;
}

export function createCamera(config: CameraConfig, options: OpenCameraOptions): Camera {
  switch (config.kind) {
    case 'simulated':
      return createSimulatedCamera(config, options.firstPart);
    case 'folder':
      return createFolderCamera(config, options);
  }
}
