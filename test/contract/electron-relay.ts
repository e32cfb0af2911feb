import { app, MessageChannelMain } from 'electron';
import type { Channel } from '../../main/contract/rpc/channel.ts';
import { createEmitterPortChannel, createIpcChannel } from '../../main/contract/rpc/message-port.ts';
import { bridge, createMultiplexer } from '../../main/contract/rpc/multiplex.ts';
import { createUtilitySpawnPort } from '../../main/shell/utility-spawn.ts';
import { serveConformance } from './conformance-server.ts';

/*
 * An Electron main process that joins the test (its parent, over IPC) to conformance servers behind its own wires. The name
 * of a channel that the test opens is the wire; `cut` cuts the latest one.
 */

let cut = () => {};
const wires: Record<string, () => Channel> = {
  'utility-process'() {
    const spawned = createUtilitySpawnPort().spawn('conformance', process.env['CONFORMANCE_SERVER']!, {} as never);
    cut = () => spawned.kill('SIGKILL');
    spawned.channel.onClose(() => spawned.kill('SIGTERM'));
    return spawned.channel;
  },
  'message-port-main'() {
    const { port1, port2 } = new MessageChannelMain();
    serveConformance(createEmitterPortChannel(port2, { wrapped: true }));
    cut = () => port2.close();
    return createEmitterPortChannel(port1, { wrapped: true });
  },
};

void app.whenReady().then(() => {
  const parent = createMultiplexer(createIpcChannel(process), 'child');
  parent.onClose(() => app.exit(0));
  parent.onOpen((name, channel) => {
    const wire = wires[name];
    if (wire) bridge(channel, wire());
    else cut();
  });
  parent.open('ready');
});
