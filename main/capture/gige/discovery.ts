import { createSocket, type Socket } from 'node:dgram';
import { isIPv4 } from 'node:net';
import { networkInterfaces } from 'node:os';
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises';
import { command, flag, GVCP_PORT, readAcknowledge, readIdentity, status, writeCommand } from './gvcp.ts';
import type { DeviceIdentity } from './gvcp.ts';

/** A camera that answered. */
export interface FoundDevice extends DeviceIdentity {
  /** How a configuration names it: the serial number, or the MAC address where it has none. */
  id: string;
}

export interface DiscoveryOptions {
  /** Asked directly as well: cameras behind a router, which no broadcast reaches. */
  addresses?: readonly string[];
  waitMs?: number;
  /** Ends the search as soon as true. */
  until?: (device: FoundDevice) => boolean;
  signal?: AbortSignal;
  /** False: only `addresses` are asked. */
  broadcast?: boolean;
}

/** Devices may delay their answer by up to a second; those on a plant's switch answer within milliseconds. */
const WAIT_MS = 700;
const REPEAT_MS = 200;
const LOOPBACK = '127.0.0.1';
const BROADCAST = '255.255.255.255';
const NO_ADDRESS = '0.0.0.0';
/** An answering network is bounded, whoever is in it. */
const MAX_DEVICES = 1_000;

export const isDevice = (device: FoundDevice, name: string): boolean =>
  [device.id, device.serial, device.mac, device.address, device.userName].includes(name);

/**
 * Where it answered from is where a device can be reached; but a program on this PC answers from the interface that asked, and may listen at one address alone.
 * @param named by the device itself
 * @param local addresses of this PC
 */
export const addressOf = (named: string, from: string, local: readonly string[]): string =>
  local.includes(from) && named !== NO_ADDRESS ? named : from;

/**
 * All cameras that answer within `waitMs`: asked by broadcast from each interface of this machine, at 127.0.0.1, and at the given
 * addresses. A camera that is heard on several ways (two interfaces, broadcast and directly) is one: joined by serial and MAC.
 */
export async function discover(options: DiscoveryOptions = {}): Promise<FoundDevice[]> {
  const { addresses = [], waitMs = WAIT_MS, until, signal, broadcast = true } = options;
  const found = new Map<string, FoundDevice>();
  const sockets: { socket: Socket; targets: string[] }[] = [];
  const local = Object.values(networkInterfaces())
    .flatMap((list) => list ?? [])
    .filter((at) => at.family === 'IPv4')
    .map((at) => at.address);
  const direct = [...new Set([...(broadcast ? [LOOPBACK] : []), ...addresses.filter((address) => isIPv4(address))])];
  const done = new AbortController();
  // By hand: a signal keeps a note of each that AbortSignal.any derives from it, and a camera that is away is looked for under one signal for months.
  const cancel = () => done.abort();
  signal?.addEventListener('abort', cancel);
  if (signal?.aborted) cancel();

  const open = async (bindTo: string, targets: string[]): Promise<void> => {
    const socket = createSocket('udp4');
    socket.on('message', (bytes, from) => {
      const ack = readAcknowledge(bytes);
      if (!ack || ack.command !== command.discoveryAck || ack.status !== status.success) return;
      const identity = readIdentity(ack.payload);
      if (!identity || found.size >= MAX_DEVICES) return;
      // An address that was asked for by name, and answers, is one that it listens at.
      const asked = addresses.includes(from.address);
      const address = asked ? from.address : addressOf(identity.address, from.address, local);
      const device = { ...identity, address, id: identity.serial || identity.mac };
      const key = `${identity.serial}\n${identity.mac}`;
      // 127.0.0.1 is a simulator's own address only if it is heard nowhere else.
      if (!found.has(key) || addresses.includes(address)) found.set(key, device);
      if (until?.(device)) done.abort();
    });
    const bound = await new Promise<boolean>((resolve) => {
      // An interface that went away between listing and binding is none.
      socket.once('error', () => resolve(false));
      socket.bind(0, bindTo, () => resolve(true));
    });
    socket.on('error', () => {});
    if (!bound) {
      socket.close();
      return;
    }
    if (targets.includes(BROADCAST)) socket.setBroadcast(true);
    sockets.push({ socket, targets });
  };

  try {
    await Promise.all([
      ...(broadcast ? local.map((address) => open(address, [BROADCAST])) : []),
      ...(direct.length > 0 ? [open('0.0.0.0', direct)] : []),
    ]);
    const end = performance.now() + waitMs;
    for (let requestId = 1; !done.signal.aborted && performance.now() < end; requestId += 1) {
      for (const { socket, targets } of sockets) {
        for (const target of targets) {
          const flags = flag.acknowledge | (target === BROADCAST ? flag.broadcastAck : 0);
          socket.send(writeCommand(command.discovery, requestId, Buffer.alloc(0), flags), GVCP_PORT, target, () => {});
        }
      }
      const pauseMs = Math.min(REPEAT_MS, Math.max(1, end - performance.now()));
      await sleep(pauseMs, undefined, { signal: done.signal }).catch(() => {});
    }
    // On a busy PC the time is over before the answers were looked at, which lie in the sockets by then.
    await turn();
    signal?.throwIfAborted();
  } finally {
    signal?.removeEventListener('abort', cancel);
    await Promise.all(sockets.map(({ socket }) => new Promise<void>((resolve) => socket.close(() => resolve()))));
  }
  return [...found.values()].toSorted((a, b) => a.id.localeCompare(b.id) || a.address.localeCompare(b.address));
}
