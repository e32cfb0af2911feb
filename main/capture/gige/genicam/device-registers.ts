import { GvcpError } from '../control-channel.ts';
import { status } from '../gvcp.ts';
import { FeatureError, findNode, wholeLiteral, type Questions, type Walk } from './feature.ts';
import { innerNode, type Description, type Node } from './nodes.ts';
import { registerOf, type Register } from './register.ts';

/** Registers of a device. Addresses and lengths as the description gives them. */
export interface Port {
  read(address: number, length: number): Promise<Uint8Array>;
  write(address: number, bytes: Uint8Array): Promise<void>;
}

export interface DeviceRegisters {
  /** Where a register node lies; addresses may be worked out from other nodes. */
  locate(node: Node, walk: Walk): Promise<Register>;
  /** False: it lies inside the pictures' chunk data, which are not the device's registers. */
  isRemote(node: Node): boolean;
  /** Cached as the description allows. @param at where it lies, if that is known already. */
  read(node: Node, walk: Walk, at?: Register): Promise<Uint8Array>;
  /** As the device has it now. */
  readNow(node: Node, at: Register): Promise<Uint8Array>;
  write(node: Node, at: Register, bytes: Uint8Array): Promise<void>;
  forget(): void;
}

/** What a device refuses is the failure of that node, unless it does not let this program near it at all: it is there, and answers. */
const answered = <T>(node: Node, answer: Promise<T>): Promise<T> =>
  answer.catch((error: unknown) => {
    if (!(error instanceof GvcpError) || error.status === status.accessDenied) throw error;
    throw new FeatureError(node.name, `is refused: ${error.message}`, error);
  });

export function createDeviceRegisters(description: Description, ask: Questions, port: Port): DeviceRegisters {
  const cache = new Map<string, { bytes: Uint8Array; at: number }>();
  const locate = (node: Node, walk: Walk): Promise<Register> =>
    registerOf(node, {
      whole: async (name) => Number(await ask.integer(findNode(description, name), walk)),
      wholeOf: async (element) => Number(await ask.integer(innerNode(element), walk)),
      literal: (text) => Number(wholeLiteral(node, text)),
      fail: (problem) => new FeatureError(node.name, problem),
    });
  const isRemote = (node: Node): boolean => {
    const name = node.text('pPort');
    const at = name === null ? null : description.nodes.get(name);
    return !at || (at.text('ChunkID') === null && at.text('pChunkID') === null);
  };
  return {
    locate,
    isRemote,
    async read(node, walk, at) {
      if (!isRemote(node)) throw new FeatureError(node.name, 'lies in the chunk data of pictures');
      const { address, length } = at ?? (await locate(node, walk));
      const key = `${address}:${length}`;
      const cached = cache.get(key);
      const pollMs = Number(node.text('PollingTime') ?? Infinity);
      if (node.text('Cachable') !== 'NoCache' && cached && performance.now() - cached.at < pollMs) return cached.bytes;
      const bytes = await answered(node, port.read(address, length));
      if (bytes.length !== length) throw new FeatureError(node.name, `has ${length} bytes, ${bytes.length} came`);
      cache.set(key, { bytes, at: performance.now() });
      return bytes;
    },
    readNow: (node, { address, length }) => answered(node, port.read(address, length)),
    async write(node, { address }, bytes) {
      // Any register may depend on any other, whatever pInvalidator says: asking again costs a millisecond, an old value a shift.
      cache.clear();
      await answered(node, port.write(address, bytes));
      cache.clear();
    },
    forget: () => cache.clear(),
  };
}
