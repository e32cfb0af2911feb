import { readFileSync } from 'node:fs';
import { arch, cpus } from 'node:os';
import { onnxruntimeVersion } from '../runtime/session.ts';

export interface Environment {
  cpu: string;
  onnxruntime: string;
  threads: number;
}

export const describeEnvironment = (threads: number): Environment => ({
  cpu: cpus()[0]?.model.trim() || arch(),
  onnxruntime: onnxruntimeVersion,
  threads,
});

/** CPU features as Linux names them; empty where the system does not tell. */
const cpuFlags = (): Set<string> => {
  if (process.platform !== 'linux') return new Set();
  try {
    const line = readFileSync('/proc/cpuinfo', 'utf8').match(/^flags\s*:(.*)$/m);
    return new Set(line?.[1]?.trim().split(/\s+/) ?? []);
  } catch {
    // Not readable in some containers: the same as not told.
    return new Set();
  }
};

/**
 * Bits that INT8 weights may use. x86 without VNNI or AMX adds pairs of u8 x s8 products in 16 bits with saturation, which
 * eight-bit weights overflow and seven-bit ones do not. Unknown counts as without.
 */
export const integerWeightBits = (flags: ReadonlySet<string> = cpuFlags(), architecture: string = arch()): 7 | 8 => {
  if (architecture !== 'x64' && architecture !== 'ia32') return 8;
  return ['avx512_vnni', 'avx_vnni', 'amx_int8'].some((flag) => flags.has(flag)) ? 8 : 7;
};
