import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** What the system lets nobody read, or what ended while it was looked at. */
const orNothing = <T>(read: () => T, nothing: T): T => {
  try {
    return read();
  } catch {
    return nothing;
  }
};

/** A process and all below it, by the system's own table (Linux, proc(5)). */
export function withDescendants(pid: number): number[] {
  const parents = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((name) => {
      // The name, in brackets, may hold anything.
      const stat = orNothing(() => readFileSync(`/proc/${name}/stat`, 'utf8'), '');
      return { pid: Number(name), parent: Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]) };
    });
  const found = [pid];
  for (const at of found) found.push(...parents.filter(({ parent }) => parent === at).map((child) => child.pid));
  return found;
}

/** TCP ports that a process or one below it listens on, ascending (Linux). */
export function listeningPorts(pid: number): number[] {
  const sockets = new Set(
    withDescendants(pid).flatMap((at) =>
      orNothing(() => readdirSync(`/proc/${at}/fd`), []).map((fd) =>
        orNothing(() => /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${at}/fd/${fd}`))?.[1], undefined),
      ),
    ),
  );
  const ports = ['/proc/net/tcp', '/proc/net/tcp6'].flatMap((file) =>
    orNothing(() => readFileSync(file, 'utf8'), '')
      .split('\n')
      .slice(1)
      .map((line) => line.trim().split(/\s+/))
      // Columns: number, local address and port (hexadecimal), remote, state (0A: listening), …, inode.
      .filter((columns) => columns[3] === '0A' && sockets.has(columns[9]))
      .map((columns) => Number.parseInt(columns[1]!.split(':')[1]!, 16)),
  );
  return [...new Set(ports)].toSorted((a, b) => a - b);
}
