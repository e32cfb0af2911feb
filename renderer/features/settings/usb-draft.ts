import type { CameraConfig } from '../../../main/contract/domain.ts';

type UsbConfig = Extract<CameraConfig, { kind: 'usb' }>;

/** A USB camera as a form holds it; null for a field that is left to the browser. */
export interface UsbDraft {
  deviceId: string;
  label: string;
  width: number | null;
  height: number | null;
  frameRate: number | null;
  pixelFormat: UsbConfig['pixelFormat'];
}

export function usbDraftOf(camera: CameraConfig | undefined): UsbDraft {
  const usb = camera?.kind === 'usb' ? camera : null;
  return {
    deviceId: usb?.deviceId ?? '',
    label: usb?.label ?? '',
    width: usb?.width ?? null,
    height: usb?.height ?? null,
    frameRate: usb?.frameRate ?? null,
    pixelFormat: usb?.pixelFormat ?? 'RGB8',
  };
}

/** What the form does not show (pictures let go after a trigger) keeps the station's value. */
export function usbInput(draft: UsbDraft, before: CameraConfig | undefined): UsbConfig {
  const { deviceId, width, height, frameRate, pixelFormat } = draft;
  const label = draft.label.trim();
  return {
    kind: 'usb',
    pixelFormat,
    discard: before?.kind === 'usb' ? before.discard : 1,
    ...(deviceId === '' ? {} : { deviceId }),
    ...(label === '' ? {} : { label }),
    ...(width === null ? {} : { width }),
    ...(height === null ? {} : { height }),
    ...(frameRate === null ? {} : { frameRate }),
  };
}
