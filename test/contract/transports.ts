import { fork } from 'node:child_process';
import { once } from 'node:events';
import { createServer as createHttpServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { MessageChannel as NodeMessageChannel } from 'node:worker_threads';
import type { Channel } from '../../main/contract/rpc/channel.ts';
import { createMemoryPair } from '../../main/contract/rpc/memory.ts';
import {
  createEmitterPortChannel,
  createIpcChannel,
  createWebPortChannel,
} from '../../main/contract/rpc/message-port.ts';
import { bridge, createMultiplexer } from '../../main/contract/rpc/multiplex.ts';
import { connectWebSocket } from '../../main/contract/rpc/web-socket-client.ts';
import { acceptWebSockets } from '../../main/host/web-socket.ts';
import { serveConformance } from './conformance-server.ts';

export interface Connection {
  channel: Channel;
  /** As a power cut would: without a goodbye where the wire knows one. */
  cut(): void;
  close(): Promise<void>;
}

const serverFile = fileURLToPath(new URL('./conformance-server.ts', import.meta.url));

/** Every wire of the program, each with the conformance server at its far end. */
export const transports: Record<string, () => Promise<Connection>> = {
  async 'memory pair'() {
    const [near, far] = createMemoryPair();
    serveConformance(far);
    return { channel: near, cut: () => far.close(), close: async () => near.close() };
  },

  async 'MessagePort of worker_threads'() {
    const { port1, port2 } = new NodeMessageChannel();
    serveConformance(createEmitterPortChannel(port2, { wrapped: false }));
    const channel = createEmitterPortChannel(port1, { wrapped: false });
    return { channel, cut: () => port2.close(), close: async () => channel.close() };
  },

  async 'MessagePort of the web platform'() {
    const { port1, port2 } = new MessageChannel();
    serveConformance(createWebPortChannel(port2));
    const channel = createWebPortChannel(port1);
    return { channel, cut: () => port2.close(), close: async () => channel.close() };
  },

  async 'IPC of a forked process'() {
    const child = fork(serverFile, ['--serve-parent'], { serialization: 'advanced', execArgv: [] });
    const channel = createIpcChannel(child);
    const exited = once(child, 'exit');
    return {
      channel,
      cut: () => void child.kill('SIGKILL'),
      close: async () => {
        channel.close();
        child.kill();
        await exited;
      },
    };
  },

  async 'multiplexed and relayed, as the supervisor does'() {
    const [coreWire, supervisorToCore] = createMemoryPair();
    const [supervisorToLine, lineWire] = createMemoryPair();
    const line = createMultiplexer(lineWire, 'child');
    line.onOpen((_name, channel) => serveConformance(channel));
    const toLine = createMultiplexer(supervisorToLine, 'parent');
    createMultiplexer(supervisorToCore, 'parent').onOpen((name, channel) => bridge(channel, toLine.open(name)));
    const core = createMultiplexer(coreWire, 'child');
    const channel = core.open('line:1');
    return { channel, cut: () => lineWire.close(), close: async () => core.close() };
  },

  async WebSocket() {
    const server = createHttpServer();
    const sockets = acceptWebSockets({
      server,
      ways: [{ path: /^\/rpc$/, taker: () => serveConformance }],
      refuse: () => null,
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const channel = await connectWebSocket(`ws://127.0.0.1:${(server.address() as AddressInfo).port}/rpc`);
    return {
      channel,
      cut: () => sockets.close(),
      close: async () => {
        channel.close();
        sockets.close();
        server.close();
        await once(server, 'close');
      },
    };
  },
};
