import type { Events, Methods } from '../../main/contract/methods.ts';
import type { Channel } from '../../main/contract/rpc/channel.ts';
import { createLastingClient, type LastingClient } from '../../main/contract/rpc/lasting-client.ts';
import { createWebPortChannel } from '../../main/contract/rpc/message-port.ts';
import { createWebSocketClient } from '../../main/contract/rpc/web-socket-client.ts';

/** The core as the window sees it: typed calls and events that outlive a restart of the core. */
export type CoreClient = LastingClient<Methods, Events>;

/** After each re-connection the window hears this event from its own side, and from the supervisor's relay in the shell. */
const OPTIONS = { peer: 'core', reconnectedEvent: 'core.restarted' } as const;

/** In the shell the page comes from app://mekiki/ and a MessagePort is handed over by the preload script; else a WebSocket. */
export function connect(): CoreClient {
  if (location.protocol === 'app:') return createLastingClient<Methods, Events>(nextPort(), OPTIONS);
  const scheme = location.protocol === 'https:' ? 'wss' : 'ws';
  return createWebSocketClient<Methods, Events>(`${scheme}://${location.host}/rpc`, OPTIONS);
}

/**
 * The preload script posts `{type: 'mekiki-port'}` with a port to this window, once at the start and again for each new core.
 * `{type: 'mekiki-port-wanted'}` asks for one: the script may have posted before this page listened.
 */
function nextPort(): () => Promise<Channel> {
  const ready: MessagePort[] = [];
  let waiting: ((port: MessagePort) => void) | null = null;
  window.addEventListener('message', (event) => {
    const port = event.ports[0];
    if (event.source !== window || !port || (event.data as { type?: unknown } | null)?.type !== 'mekiki-port') return;
    if (waiting) waiting(port);
    else ready.splice(0, ready.length, port);
    waiting = null;
  });
  return async () => {
    const port =
      ready.pop() ??
      (await new Promise<MessagePort>((resolve) => {
        waiting = resolve;
        window.postMessage({ type: 'mekiki-port-wanted' }, location.origin);
      }));
    return createWebPortChannel(port as Parameters<typeof createWebPortChannel>[0]);
  };
}

/** Address of an archived image; `width` px gives a thumbnail. */
export const imageUrl = (sha: string, width?: number): string =>
  width === undefined ? `/image/${sha}` : `/image/${sha}?w=${width}`;
