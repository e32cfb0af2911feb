import type { VideoDevice } from '../../../main/contract/feed.ts';
import type { CameraConfig } from '../../../main/contract/domain.ts';

/** The cameras of this PC. A browser names them only to pages that may use one: so it may ask its user here. @throws DOMException */
export async function listVideoDevices(media: MediaDevices = navigator.mediaDevices): Promise<VideoDevice[]> {
  const list = async () => (await media.enumerateDevices()).filter(({ kind }) => kind === 'videoinput');
  let found = await list();
  if (found.some(({ label, deviceId }) => label === '' || deviceId === '')) {
    const stream = await media.getUserMedia({ video: true, audio: false });
    found = await list();
    for (const track of stream.getTracks()) track.stop();
  }
  return found.map(({ deviceId, label }) => ({ deviceId, label }));
}

/** The device that a configuration means: by id, else by label where one alone has it. */
export function chosenDevice(
  devices: readonly VideoDevice[],
  { deviceId, label }: Pick<Extract<CameraConfig, { kind: 'usb' }>, 'deviceId' | 'label'>,
): VideoDevice | null {
  const byId = devices.find((device) => device.deviceId === deviceId);
  if (byId) return byId;
  const alike = devices.filter((device) => device.label === label);
  return alike.length === 1 ? alike[0]! : null;
}
