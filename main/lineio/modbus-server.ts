import { EventEmitter } from 'node:events';
import { createServer, isIPv4, type Server, type Socket } from 'node:net';
import { ModbusTCPServer } from 'jsmodbus';
import { AppError, problemOf } from '../contract/errors.ts';
import type { RegisterImage } from './register-image.ts';
import type { Layout } from './register-map.ts';
import { createGate } from './request-gate.ts';

/** A PLC, its spare and a panel; more is a mistake or an attack. */
const MAX_CONNECTIONS = 8;
/** Answers that a peer does not read are not piled up for it. */
const MAX_UNREAD_BYTES = 64 * 1024;

export interface ModbusServerOptions {
  /** The one address that is listened on. */
  address: string;
  /** 0: any free one. */
  port: number;
  /** Addresses that may connect; loopback always may. */
  peers: readonly string[];
  layout: Layout;
  image: RegisterImage;
  /** A request that may be carried out came. */
  onRequest: () => void;
  /** The PLC wrote; the image has it already. */
  onWrite: () => void;
  /** A request or a connection was refused. */
  onRefused: () => void;
}

export interface ModbusServer extends AsyncDisposable {
  readonly port: number;
  readonly connections: number;
}

/** ::ffff:10.0.0.1 is 10.0.0.1. */
const plain = (address: string): string => {
  const tail = address.replace(/^::ffff:/i, '');
  return isIPv4(tail) ? tail : address.toLowerCase();
};
const isLoopback = (address: string): boolean => address === '::1' || address.startsWith('127.');

/** @throws LINE_OUTPUT_FAILED when the address cannot be listened on */
export async function openModbusServer(options: ModbusServerOptions): Promise<ModbusServer> {
  const { layout, image } = options;
  const allowed = new Set(options.peers.map(plain));
  const sockets = new Set<Socket>();
  // The package is handed one checked request at a time through stand-ins for server and socket.
  const inlet = new EventEmitter();
  const { coil, discrete, holding, input } = image.bytes;
  new ModbusTCPServer(inlet as unknown as Server, { coils: coil, discrete, holding, input });

  const server = createServer((socket) => {
    const peer = plain(socket.remoteAddress ?? '');
    if ((!isLoopback(peer) && !allowed.has(peer)) || sockets.size >= MAX_CONNECTIONS) {
      options.onRefused();
      socket.destroy();
      return;
    }
    sockets.add(socket);
    socket.setNoDelay(true);
    socket.setKeepAlive(true, 10_000);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
    const send = (bytes: Buffer) => {
      if (socket.writableLength > MAX_UNREAD_BYTES) socket.destroy();
      else if (socket.writable) socket.write(bytes);
    };
    const wire = Object.assign(new EventEmitter(), { write: send });
    inlet.emit('connection', wire);
    const gate = createGate({
      layout,
      answer: send,
      onRefused: options.onRefused,
      pass(request) {
        options.onRequest();
        wire.emit('data', request);
        const code = request[7]!;
        if (code > 4) options.onWrite();
      },
    });
    socket.on('data', (data) => {
      if (gate.push(data)) return;
      options.onRefused();
      socket.destroy();
    });
  });
  await new Promise<void>((resolve, reject) => {
    const where = `${options.address}:${options.port}`;
    // For good: later ones are of a connection that could not be taken (no descriptors left), and end nothing here.
    server.on('error', (cause) =>
      reject(new AppError('LINE_OUTPUT_FAILED', { where, problem: problemOf(cause) }, { cause })),
    );
    server.listen(options.port, options.address, resolve);
  });
  const bound = server.address();
  return {
    port: typeof bound === 'object' && bound !== null ? bound.port : options.port,
    get connections() {
      return sockets.size;
    },
    async [Symbol.asyncDispose]() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}
