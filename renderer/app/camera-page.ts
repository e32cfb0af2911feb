import '../lib/zod-policy.ts';
import { createWebPortChannel, type WebPort } from '../../main/contract/rpc/message-port.ts';
import { feedCamera } from '../lib/camera/feed-camera.ts';

/*
 * The page of the shell's hidden windows that read USB cameras. main/shell/camera-preload.ts hands it one port, with
 * {type: 'mekiki-feed'}.
 */
window.addEventListener('message', (event: MessageEvent<{ type?: unknown } | null>) => {
  const port = event.ports[0];
  if (event.source === window && port && event.data?.type === 'mekiki-feed')
    feedCamera(createWebPortChannel(port as unknown as WebPort));
});
