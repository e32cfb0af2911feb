import { createChannelCore, type Channel } from '../../../main/contract/rpc/channel.ts';
import { fromJson, toJson } from '../../../main/contract/rpc/json.ts';

/** The way of a tab's pictures to the supervisor: text frames of JSON both ways, and pictures as binary frames. */
export function openFeedSocket(ticket: string): Channel {
  const socket = new WebSocket(`${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/feed/${ticket}`);
  const core = createChannelCore();
  socket.addEventListener('message', ({ data }: MessageEvent<unknown>) => {
    if (typeof data === 'string') core.deliver(fromJson(data));
  });
  socket.addEventListener('close', () => core.closeNow());
  return {
    binary: true,
    onMessage: core.onMessage,
    onClose: core.onClose,
    send(message) {
      if (socket.readyState === WebSocket.OPEN)
        socket.send(message instanceof Uint8Array ? (message as Uint8Array<ArrayBuffer>) : toJson(message));
    },
    close() {
      socket.close();
      core.closeNow();
    },
  };
}
