import { lineEvents, lineMethods } from '../../contract/line.ts';
import { createServer, type Server } from '../../contract/rpc/server.ts';
import { runChild } from './child.ts';

/** The line process of one station: cameras, inference, line output. It goes on while the core is being restarted. */
void runChild(async ({ wire, log }) => {
  const { createLine } = await import('../line/line.ts');
  const servers = new Set<Server<typeof lineEvents>>();
  const { dispose, ...handlers } = createLine({
    log,
    emit(event, payload) {
      for (const server of servers) server.emit(event, payload);
    },
  });
  wire.onOpen((_name, channel) => {
    // A camera is not half-opened because the one who asked is gone: the next core finds the line as it was left.
    const server = createServer({
      methods: lineMethods,
      events: lineEvents,
      handlers,
      channel,
      session: null,
      log,
      onDisconnect: 'continue',
    });
    servers.add(server);
    channel.onClose(() => servers.delete(server));
  });
  return dispose;
});
