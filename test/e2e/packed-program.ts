import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
// Build scripts, plain JavaScript: they have to run before anything is built.
import { debCanBeMade, makeDeb } from '../../main/host/build/deb.mjs';
import { packProgram, unpackedIn } from '../../main/host/build/pack.mjs';
import { electronFolder } from './electron-app.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
/** dpkg sets owners, so it wants to be root also in a folder of its own. */
const asDebian = debCanBeMade() && process.getuid?.() === 0;

export interface InstalledProgram {
  executable: string;
  /** What was installed, without the rest of the test's files. */
  folder: string;
  /** The Debian package, as dpkg does it; null where none was installed. */
  debian: { install(): void; remove(): void } | null;
}

/**
 * The program as electron-builder packs it, a test runtime with the Electron at hand; where Debian's tools are here, as a package
 * that dpkg has installed into a folder of its own. Core and trainer run under a plain Node there, which cannot read archives:
 * their bundles lie beside the archive as well. The shell, the line and its threads are loaded from the archive.
 */
export async function installForTests(into: string): Promise<InstalledProgram> {
  const output = join(into, 'packed');
  await packProgram({ targets: ['dir'], testRuntime: true, output, electronDist: electronFolder! });
  const unpacked = unpackedIn(output);
  for (const part of ['dist/test-runtime/processes', 'dist/test-runtime/threads', 'package.json'])
    cpSync(join(root, part), join(unpacked, 'resources/app.asar.unpacked', part), { recursive: true });
  if (!asDebian) return { executable: join(unpacked, 'mekiki'), folder: unpacked, debian: null };

  const file = await makeDeb({ unpacked, into, compression: ['-Znone'] });
  const system = join(into, 'system');
  mkdirSync(join(system, 'var/lib/dpkg/updates'), { recursive: true });
  mkdirSync(join(system, 'var/lib/dpkg/info'));
  for (const name of ['status', 'available']) writeFileSync(join(system, 'var/lib/dpkg', name), '');
  const dpkg = (...args: string[]) =>
    execFileSync('dpkg', [`--root=${system}`, '--force-depends', ...args], { stdio: ['ignore', 'ignore', 'pipe'] });
  const install = () => void dpkg('--install', file);
  install();
  rmSync(output, { recursive: true });
  return {
    executable: join(system, 'opt/mekiki/mekiki'),
    folder: system,
    debian: { install, remove: () => void dpkg('--remove', 'mekiki') },
  };
}

/** Loopback, and one cable whose other end nobody reads. IPv6 off: its neighbour discovery would count. */
const OPEN = [
  'ip link set lo up',
  'ip link add out type veth peer name hole',
  'for end in out hole; do echo 1 > /proc/sys/net/ipv6/conf/$end/disable_ipv6; ip link set $end arp off up; done',
  'ip addr add 198.51.100.1/24 dev out',
  'ip route add default dev out',
].join(' && ');

/** Whether this account may make a network namespace with a cable in it. */
export const networksCanBeMade = (): boolean =>
  spawnSync('unshare', ['--net', 'sh', '-c', OPEN], { stdio: 'ignore' }).status === 0;

/** Runs in a child under plain Node inside the namespace: one connection between its standard streams and a port there. */
const BRIDGE = `const s = require('node:net').connect(+process.argv[1], '127.0.0.1');
process.stdin.pipe(s); s.pipe(process.stdout); s.on('error', () => process.exit(1)); s.on('close', () => process.exit(0));`;

export interface ClosedNetwork {
  /** What starts a command inside. */
  prefix: string[];
  /** A port on this side that leads to a port inside. */
  bridge(port: number): Promise<number>;
  /** Packets that anything inside sent anywhere but to itself. */
  sentOut(): number;
  close(): Promise<void>;
}

/**
 * A network namespace in which every address but loopback is routed to an interface that leads nowhere and counts: what is
 * sent there would have left the PC.
 */
export async function openClosedNetwork(): Promise<ClosedNetwork> {
  const holder = spawn('unshare', ['--net', 'sh', '-c', `${OPEN} && echo ready && exec cat`], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const [said] = (await once(holder.stdout, 'data')) as [Buffer];
  if (String(said).trim() !== 'ready') throw new Error(`no network namespace: ${String(said)}`);
  const prefix = ['nsenter', `--net=/proc/${holder.pid}/ns/net`];
  const servers: { close(): void }[] = [];
  return {
    prefix,
    async bridge(port) {
      const sockets = new Set<Socket>();
      const server = createServer((socket) => {
        sockets.add(socket);
        const inside = spawn(prefix[0]!, [...prefix.slice(1), process.execPath, '-e', BRIDGE, String(port)], {
          stdio: ['pipe', 'pipe', 'ignore'],
        });
        socket.pipe(inside.stdin);
        inside.stdout.pipe(socket);
        for (const end of [socket, inside.stdin, inside.stdout]) end.on('error', () => socket.destroy());
        socket.on('close', () => {
          sockets.delete(socket);
          inside.kill();
        });
      });
      servers.push({
        close() {
          for (const socket of sockets) socket.destroy();
          server.close();
        },
      });
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      return (server.address() as AddressInfo).port;
    },
    sentOut: () =>
      Number(
        /^\s*out:(?:\s+\d+){9}\s+(\d+)/m.exec(
          execFileSync(prefix[0]!, [...prefix.slice(1), 'cat', '/proc/net/dev'], { encoding: 'utf8' }),
        )?.[1] ?? NaN,
      ),
    async close() {
      for (const server of servers) server.close();
      holder.stdin.end();
      if (holder.exitCode === null) await once(holder, 'exit');
    },
  };
}

/** Bytes on disk of a folder. */
export const sizeOf = (folder: string): number =>
  Number(execFileSync('du', ['-s', '--block-size=1', folder], { encoding: 'utf8' }).split('\t')[0]);
