import { camerasEvents, camerasMethods } from '../../contract/cameras.ts';
import { lineEvents, lineMethods } from '../../contract/line.ts';
import type { Logger } from '../../contract/log.ts';
import type { Multiplexer } from '../../contract/rpc/multiplex.ts';
import { createServer, type Server } from '../../contract/rpc/server.ts';
import { runChild } from './child.ts';

/**
 * The line process of one station: cameras, inference, line output. It goes on while the core is being restarted. Under the name
 * `cameras` it only looks for cameras, and has neither a line nor a model.
 */
void runChild(async ({ settings, wire, log }) =>
  settings.name === 'cameras' ? findCameras(wire, log) : runLine(wire, log),
);

async function runLine(wire: Multiplexer, log: Logger) {
  const { createLine } = await import('../line/line.ts');
  const servers = new Set<Server<typeof lineEvents>>();
  const { dispose, ...handlers } = createLine({
    log,
    openFeed: () => wire.open('feed'),
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
}

async function findCameras(wire: Multiplexer, log: Logger) {
  const { discover } = await import('../../capture/gige/discovery.ts');
  wire.onOpen((_name, channel) => {
    createServer({
      methods: camerasMethods,
      events: camerasEvents,
      channel,
      session: null,
      log,
      handlers: { 'cameras.find': ({ addresses }, _session, signal) => discover({ addresses, signal }) },
    });
  });
  return async () => {};
}
