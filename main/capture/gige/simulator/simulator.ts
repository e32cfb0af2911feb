import { createSocket, type Socket } from 'node:dgram';
import { AppError } from '../../../contract/errors.ts';
import { command, GVCP_PORT, readCommand } from '../gvcp.ts';
import { describeCamera, storeDescription } from './description.ts';
import { identity, switchOn } from './device.ts';
import { defaultSettings, limits, type SimulatorSettings } from './settings.ts';
import { formatCode, patternFormats } from './test-pattern.ts';
import type { TransmitterCounts } from './transmitter.ts';

/*
 * A GigE Vision device in this program, for commissioning without a camera and for tests of what goes wrong on a line. It speaks
 * on real sockets; what it sends is a pattern that a receiver can check byte for byte (test-pattern.ts).
 */

const TICK_MS = 50;
const BROADCAST = '255.255.255.255';

export interface SimulatorStatus extends TransmitterCounts {
  /** Address and port of the program in control; null: nobody. */
  controller: string | null;
  disconnects: number;
}

export interface Simulator extends AsyncDisposable {
  readonly settings: SimulatorSettings;
  status(): SimulatorStatus;
  /** Goes silent as if unplugged; comes back as if just switched on. @param downMs default: that of the settings */
  disconnect(downMs?: number): void;
  /** Controlled by nobody from now on, as after a write of its privilege register by a switch-over. */
  dropController(): void;
  /** A pulse at Line1. */
  pulse(): void;
  close(): Promise<void>;
}

/** @throws INVALID_INPUT */
export async function startSimulator(over: Partial<SimulatorSettings> = {}): Promise<Simulator> {
  const settings = { ...defaultSettings, ...over };
  check(settings);
  const { address } = settings;
  const [controlSocket, streamSocket, broadcastSocket] = [openSocket(), openSocket(), openSocket({ reuseAddr: true })];
  const sockets = [controlSocket, streamSocket, broadcastSocket];
  try {
    await bind(controlSocket, address, GVCP_PORT);
    await bind(streamSocket, address, 0);
  } catch (error) {
    for (const socket of sockets) socket.close();
    throw error;
  }
  // Shared by all simulated cameras. Where a system does not give the address away (Windows), it is found by its own one.
  await bind(broadcastSocket, BROADCAST, GVCP_PORT, { shared: true }).catch(() => {});
  const stored = storeDescription(describeCamera(identity), settings.zippedXml);
  const plugIn = () => switchOn(settings, stored, { control: controlSocket, stream: streamSocket }, () => disconnect());
  let device = plugIn();
  let down: NodeJS.Timeout | null = null;
  let disconnects = 0;
  /** Of the times that it was switched on before. */
  let before: TransmitterCounts | null = null;

  controlSocket.on('message', (bytes, from) => {
    if (!down) device.control.packet(bytes, from, performance.now());
  });
  broadcastSocket.on('message', (bytes, from) => {
    if (!down && readCommand(bytes)?.command === command.discovery) {
      device.control.packet(bytes, from, performance.now());
    }
  });
  const ticking = setInterval(() => device.control.tick(performance.now()), TICK_MS);

  function disconnect(downMs = settings.downMs): void {
    if (down) return;
    disconnects += 1;
    device.switchOff();
    before = sum(before, device.counts);
    down = setTimeout(() => {
      down = null;
      device = plugIn();
    }, downMs);
  }
  const close = async () => {
    clearInterval(ticking);
    if (down) clearTimeout(down);
    device.switchOff();
    await Promise.all(sockets.map((socket) => new Promise<void>((resolve) => socket.close(() => resolve()))));
  };
  return {
    settings,
    status() {
      const { controller } = device.control;
      return {
        ...(down ? before! : sum(before, device.counts)),
        controller: controller && !down ? `${controller.address}:${controller.port}` : null,
        disconnects,
      };
    },
    disconnect,
    dropController: () => device.control.release(),
    pulse: () => device.pulse(),
    close,
    [Symbol.asyncDispose]: close,
  };
}

const sum = (a: TransmitterCounts | null, b: Readonly<TransmitterCounts>): TransmitterCounts => ({
  frames: (a?.frames ?? 0) + b.frames,
  packets: (a?.packets ?? 0) + b.packets,
  dropped: (a?.dropped ?? 0) + b.dropped,
  reordered: (a?.reordered ?? 0) + b.reordered,
  duplicated: (a?.duplicated ?? 0) + b.duplicated,
  late: (a?.late ?? 0) + b.late,
  resent: (a?.resent ?? 0) + b.resent,
  unavailable: (a?.unavailable ?? 0) + b.unavailable,
});

function check(settings: SimulatorSettings): void {
  const fail = (what: string, problem: string): never => {
    throw new AppError('INVALID_INPUT', { what, problem });
  };
  const { pixelFormat, width, height, serial } = settings;
  if (formatCode(pixelFormat) === null) {
    fail('the pixel format', `${pixelFormat} is none of ${patternFormats.join(', ')}`);
  }
  const fits = (size: number, least: number, most: number, step: number) =>
    size >= least && size <= most && size % step === 0;
  if (!fits(width, 16, limits.width, 4) || !fits(height, 2, limits.height, 2)) {
    fail(
      'the size',
      `${width}x${height} is not 16 to ${limits.width} in steps of 4 by 2 to ${limits.height} in steps of 2`,
    );
  }
  if (serial === '' || Buffer.byteLength(serial) > 15) fail('the serial number', 'it has 1 to 15 bytes');
}

/** Addresses are numbers here: nothing has to be looked up, and packets leave in the order they are sent in. */
const openSocket = (options: { reuseAddr?: boolean } = {}): Socket =>
  createSocket({ type: 'udp4', ...options, lookup: (host, _options, done) => done(null, host, 4) });

async function bind(socket: Socket, address: string, port: number, options: { shared?: boolean } = {}): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    socket.once('error', reject);
    socket.bind({ address, port, exclusive: !options.shared }, () => {
      socket.off('error', reject);
      resolve();
    });
  }).catch((cause: NodeJS.ErrnoException) => {
    const taken = `port ${port} is in use there by another GigE Vision program`;
    const problem = cause.code === 'EADDRINUSE' ? taken : cause.message;
    throw new AppError('INVALID_INPUT', { what: `The address ${address}`, problem }, { cause });
  });
  // A receiver that went away: the next one will listen.
  socket.on('error', () => {});
}
