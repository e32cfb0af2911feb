import { readFileSync } from 'node:fs';
import { arch, cpus } from 'node:os';
import type { Environment } from '../contract/domain.ts';
import { onnxruntimeVersion } from '../runtime/session.ts';

/** CPU features as Linux names them; empty where the system does not tell. */
const cpuFlags = (): Set<string> => {
  if (process.platform !== 'linux') return new Set();
  try {
    const line = readFileSync('/proc/cpuinfo', 'utf8').match(/^(?:flags|Features)\s*:(.*)$/m);
    return new Set(line?.[1]?.trim().split(/\s+/) ?? []);
  } catch {
    // Not readable in some containers: the same as not told.
    return new Set();
  }
};

/** Flags by which kernels for integers and floats are chosen, on x86 and on ARM. */
const KERNEL_FLAGS = [
  'sse4_1',
  'avx',
  'f16c',
  'fma',
  'avx2',
  'avx_vnni',
  'avx512f',
  'avx512_vnni',
  'avx512_bf16',
  'amx_int8',
  'amx_bf16',
  'asimd',
  'asimddp',
  'i8mm',
  'bf16',
  'sve',
  'sve2',
];

/** This PC, as evidence names it. */
export const describeEnvironment = (threads: number): Environment => {
  const flags = cpuFlags();
  return {
    cpu: cpus()[0]?.model.trim() || arch(),
    onnxruntime: onnxruntimeVersion(),
    threads,
    ...(flags.size === 0 ? {} : { features: KERNEL_FLAGS.filter((flag) => flags.has(flag)).sort() }),
  };
};

/** One may stand for the other. Features that only one of them tells are no difference: older evidence has none. */
export const sameEnvironment = (a: Environment, b: Environment): boolean =>
  a.cpu === b.cpu &&
  a.onnxruntime === b.onnxruntime &&
  a.threads === b.threads &&
  (a.features === undefined || b.features === undefined || a.features.join() === b.features.join());

/**
 * Bits that INT8 weights may use. x86 without VNNI or AMX adds pairs of u8 x s8 products in 16 bits with saturation, which
 * eight-bit weights overflow and seven-bit ones do not. Unknown counts as without.
 */
export const integerWeightBits = (flags: ReadonlySet<string> = cpuFlags(), architecture: string = arch()): 7 | 8 => {
  if (architecture !== 'x64' && architecture !== 'ia32') return 8;
  return ['avx512_vnni', 'avx_vnni', 'amx_int8'].some((flag) => flags.has(flag)) ? 8 : 7;
};
