import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/*
 * What a disk may hold after a power cut, from the system calls that a program really made (strace -f -y -xx), SQLite's included.
 *
 * The rules are those of POSIX, no file system's own kindness: what a file contains is on the disk when fsync or fdatasync of it returns, a name when fsync of its directory returns, and a rename
 * is one thing. Until then each write may be there, be missing, or be there in whole sectors only; each change of a name may be there or not, whatever came before or after it.
 */

interface Write {
  /** null: the file is cut or grown to `offset`. */
  bytes: Buffer | null;
  offset: number;
}
interface FileNode {
  kind: 'file';
  durable: Buffer;
  pending: Write[];
}
interface FolderNode {
  kind: 'folder';
  durable: Map<string, Node>;
  now: Map<string, Node>;
}
type Node = FileNode | FolderNode;

type NameChange =
  | { kind: 'link'; folder: FolderNode; name: string; node: Node }
  | { kind: 'unlink'; folder: FolderNode; name: string }
  | { kind: 'rename'; folder: FolderNode; name: string; from: FolderNode; fromName: string; node: Node };

/** One call as strace wrote it down, paths decoded. */
export interface Call {
  name: string;
  pid: string;
  args: string[];
  result: string;
  /** Index of the call that was the last one to have ended when this one began. */
  beganAfter: number;
}

const SECTOR = 512;

const decode = (hex: string): Buffer => Buffer.from(hex.replaceAll('\\x', ''), 'hex');
const quoted = (arg: string): Buffer => {
  const found = /"((?:\\x[0-9a-f]{2})*)"/.exec(arg);
  return decode(found?.[1] ?? '');
};
/** `17<path>` or `AT_FDCWD<path>`. */
const pathOfFd = (arg: string): string => decode(/<((?:\\x[0-9a-f]{2})*)>/.exec(arg)?.[1] ?? '').toString('utf8');
const fdOf = (arg: string): number => Number.parseInt(arg, 10);

const splitArgs = (text: string): string[] => {
  const args: string[] = [];
  let depth = 0;
  let inString = false;
  let from = 0;
  for (let i = 0; i < text.length; i += 1) {
    const c = text[i]!;
    if (c === '"') inString = !inString;
    else if (!inString && '{[('.includes(c)) depth += 1;
    else if (!inString && '}])'.includes(c)) depth -= 1;
    else if (!inString && depth === 0 && c === ',') {
      args.push(text.slice(from, i).trim());
      from = i + 1;
    }
  }
  args.push(text.slice(from).trim());
  return args;
};

/** Calls in the order in which they ended. */
export const parseTrace = (text: string): Call[] => {
  const calls: Call[] = [];
  const begun = new Map<string, { line: string; at: number }>();
  for (const line of text.split('\n')) {
    const found = /^(\d+)\s+(.*)$/.exec(line);
    if (found === null) continue;
    const pid = found[1]!;
    let rest = found[2]!;
    let beganAfter = calls.length - 1;
    if (rest.endsWith('<unfinished ...>')) {
      begun.set(pid, { line: rest.slice(0, -'<unfinished ...>'.length), at: beganAfter });
      continue;
    }
    const resumed = /^<\.\.\. \w+ resumed>(.*)$/.exec(rest);
    if (resumed !== null) {
      const before = begun.get(pid);
      if (before === undefined) continue;
      begun.delete(pid);
      rest = before.line + resumed[1]!;
      beganAfter = before.at;
    }
    const call = /^(\w+)\((.*)\)\s+=\s+(.*)$/.exec(rest);
    if (call === null) continue;
    const [, name, args, result] = call;
    if (result!.startsWith('-1') || result!.startsWith('?')) continue;
    calls.push({ name: name!, pid, args: splitArgs(args!), result: result!, beganAfter });
  }
  return calls;
};

export interface TracedDisk {
  /** Takes one call in. Gives the text written to the standard output, if that is what it was. */
  take(call: Call): string | null;
  /** Changes that a power cut now could lose. */
  pending(): number;
  /** Writes a disk as a power cut now could leave it to `folder`: `keep` decides about each change that is not on the disk for good. */
  writeTo(folder: string, keep: (what: 'name' | 'data') => boolean, random: () => number): void;
}

/** @param root the folder whose fate is followed; nothing else is. @param folders in it that were there before */
export const createTracedDisk = (root: string, folders: readonly string[]): TracedDisk => {
  const folder = (): FolderNode => ({ kind: 'folder', durable: new Map(), now: new Map() });
  const top = folder();
  let names: { change: NameChange; at: number }[] = [];
  const files = new Set<FileNode>();
  const open = new Map<number, { node: FileNode; position: number; append: boolean }>();
  let taken = -1;

  for (const name of folders) {
    const made = folder();
    top.durable.set(name, made);
    top.now.set(name, made);
  }

  const inside = (path: string): string[] | null => {
    if (!path.startsWith(`${root}/`)) return path === root ? [] : null;
    return path.slice(root.length + 1).split('/');
  };
  const find = (path: string): Node | null => {
    let node: Node = top;
    for (const part of inside(path) ?? ['']) {
      if (node.kind !== 'folder') return null;
      const next = node.now.get(part);
      if (next === undefined) return null;
      node = next;
    }
    return inside(path) === null ? null : node;
  };
  const place = (path: string): { folder: FolderNode; name: string } | null => {
    const parts = inside(path);
    if (parts === null || parts.length === 0) return null;
    const parent = find(dirname(path));
    return parent?.kind === 'folder' ? { folder: parent, name: parts.at(-1)! } : null;
  };
  const contentOf = (node: FileNode, writes: readonly Write[]): Buffer => {
    let content = node.durable;
    for (const { bytes, offset } of writes) {
      if (bytes === null) {
        const next = Buffer.alloc(offset);
        content.copy(next, 0, 0, Math.min(offset, content.length));
        content = next;
        continue;
      }
      if (content.length < offset + bytes.length) {
        const next = Buffer.alloc(offset + bytes.length);
        content.copy(next);
        content = next;
      } else content = Buffer.from(content);
      bytes.copy(content, offset);
    }
    return content;
  };
  const sizeOf = (node: FileNode): number => contentOf(node, node.pending).length;
  const linked = (path: string, node: Node): void => {
    const at = place(path);
    if (at === null) return;
    at.folder.now.set(at.name, node);
    names.push({ change: { kind: 'link', ...at, node }, at: taken });
  };
  const unlinked = (path: string): void => {
    const at = place(path);
    if (at === null || !at.folder.now.has(at.name)) return;
    at.folder.now.delete(at.name);
    names.push({ change: { kind: 'unlink', ...at }, at: taken });
  };
  const write = (node: FileNode, offset: number, bytes: Buffer | null): void => {
    node.pending.push({ offset, bytes });
    files.add(node);
  };
  const apply = (change: NameChange): void => {
    if (change.kind === 'unlink') change.folder.durable.delete(change.name);
    else {
      if (change.kind === 'rename' && change.from.durable.get(change.fromName) === change.node)
        change.from.durable.delete(change.fromName);
      change.folder.durable.set(change.name, change.node);
    }
  };
  const touches = ({ change }: { change: NameChange }, node: FolderNode): boolean =>
    change.folder === node || (change.kind === 'rename' && change.from === node);
  const flush = (path: string, beganAfter: number): void => {
    const node = find(path);
    if (node === null) return;
    if (node.kind === 'file') {
      // What was written while the call was under way may have come too late for it: it is taken as not flushed only if another thread wrote, which no file here knows.
      node.durable = contentOf(node, node.pending);
      node.pending = [];
      files.delete(node);
      return;
    }
    for (const each of names) if (touches(each, node) && each.at <= beganAfter) apply(each.change);
    names = names.filter((each) => !(touches(each, node) && each.at <= beganAfter));
  };
  const at = (folderArg: string, nameArg: string): string => {
    const name = quoted(nameArg).toString('utf8');
    return name.startsWith('/') ? name : join(pathOfFd(folderArg), name);
  };

  return {
    take(call) {
      taken += 1;
      const { name, args, result } = call;
      const [a = '', b = '', c = '', d = ''] = args;
      switch (name) {
        case 'openat': {
          const path = at(a, b);
          const fd = fdOf(result);
          open.delete(fd);
          if (inside(path) === null) return null;
          let node = find(path);
          if (node === null && c.includes('O_CREAT')) {
            node = { kind: 'file', durable: Buffer.alloc(0), pending: [] };
            linked(path, node);
          }
          if (node?.kind !== 'file') return null;
          if (c.includes('O_TRUNC') && sizeOf(node) > 0) write(node, 0, null);
          open.set(fd, { node, position: 0, append: c.includes('O_APPEND') });
          return null;
        }
        case 'write':
        case 'pwrite64': {
          const fd = fdOf(a);
          const written = Number.parseInt(result, 10);
          const bytes = quoted(b).subarray(0, written);
          if (fd === 1 && name === 'write') return bytes.toString('utf8');
          const handle = open.get(fd);
          if (handle === undefined || inside(pathOfFd(a)) === null) return null;
          const offset =
            name === 'pwrite64' ? Number.parseInt(d, 10) : handle.append ? sizeOf(handle.node) : handle.position;
          write(handle.node, offset, bytes);
          if (name === 'write') handle.position = offset + bytes.length;
          return null;
        }
        case 'writev':
        case 'pwritev': {
          const handle = open.get(fdOf(a));
          if (handle === undefined || inside(pathOfFd(a)) === null) return null;
          let left = Number.parseInt(result, 10);
          let offset =
            name === 'pwritev' ? Number.parseInt(d, 10) : handle.append ? sizeOf(handle.node) : handle.position;
          for (const [text] of b.matchAll(/"(?:\\x[0-9a-f]{2})*"/g)) {
            const bytes = quoted(text).subarray(0, left);
            write(handle.node, offset, bytes);
            offset += bytes.length;
            left -= bytes.length;
          }
          if (name === 'writev') handle.position = offset;
          return null;
        }
        case 'ftruncate': {
          const handle = open.get(fdOf(a));
          if (handle !== undefined && inside(pathOfFd(a)) !== null) write(handle.node, Number.parseInt(b, 10), null);
          return null;
        }
        case 'truncate': {
          const node = find(quoted(a).toString('utf8'));
          if (node?.kind === 'file') write(node, Number.parseInt(b, 10), null);
          return null;
        }
        case 'fsync':
        case 'fdatasync':
          flush(pathOfFd(a), call.beganAfter);
          return null;
        case 'mkdir':
          linked(quoted(a).toString('utf8'), folder());
          return null;
        case 'mkdirat':
          linked(at(a, b), folder());
          return null;
        case 'unlink':
        case 'rmdir':
          unlinked(quoted(a).toString('utf8'));
          return null;
        case 'unlinkat':
          unlinked(at(a, b));
          return null;
        case 'rename':
        case 'renameat':
        case 'renameat2': {
          const [from, to] =
            name === 'rename' ? [quoted(a).toString('utf8'), quoted(b).toString('utf8')] : [at(a, b), at(c, d)];
          const node = find(from);
          const source = place(from);
          const target = place(to);
          if (node === null || source === null || target === null) return null;
          source.folder.now.delete(source.name);
          target.folder.now.set(target.name, node);
          names.push({
            change: { kind: 'rename', ...target, from: source.folder, fromName: source.name, node },
            at: taken,
          });
          return null;
        }
        default:
          return null;
      }
    },
    pending: () => names.length + [...files].reduce((sum, { pending }) => sum + pending.length, 0),
    writeTo(target, keep, random) {
      // On a copy: the trace goes on from what really happened.
      const copies = new Map<Node, Map<string, Node>>();
      const entriesOf = (node: FolderNode): Map<string, Node> => {
        const known = copies.get(node) ?? new Map(node.durable);
        copies.set(node, known);
        return known;
      };
      for (const { change } of names) {
        if (!keep('name')) continue;
        if (change.kind === 'unlink') entriesOf(change.folder).delete(change.name);
        else {
          if (change.kind === 'rename' && entriesOf(change.from).get(change.fromName) === change.node)
            entriesOf(change.from).delete(change.fromName);
          entriesOf(change.folder).set(change.name, change.node);
        }
      }
      const torn = (each: Write): Write[] => {
        if (keep('data')) return [each];
        if (each.bytes === null || each.bytes.length <= SECTOR || random() < 0.5) return [];
        const sectors = Math.floor(each.bytes.length / SECTOR);
        return [{ ...each, bytes: each.bytes.subarray(0, SECTOR * Math.floor(random() * (sectors + 1))) }];
      };
      const put = (node: FolderNode, path: string): void => {
        mkdirSync(path, { recursive: true });
        for (const [name, entry] of entriesOf(node)) {
          if (entry.kind === 'folder') put(entry, join(path, name));
          else writeFileSync(join(path, name), contentOf(entry, entry.pending.flatMap(torn)));
        }
      };
      put(top, target);
    },
  };
};
