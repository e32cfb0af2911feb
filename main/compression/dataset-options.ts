import type { Backbone } from '../contract/domain.ts';
import type { AdaptMode } from './adapt.ts';
import type { Precision, Strategy } from './plan/variant.ts';

export interface CompressDatasetOptions {
  dir: string;
  backbone: Backbone;
  strategy: Strategy | 'auto';
  precision: Precision | 'auto';
  /** Share of multiply-accumulates that pruning removes; default: the search chooses. */
  ratio?: number | undefined;
  /** Default: one class per task. */
  tasks?: number | undefined;
  timeBudgetS: number;
  latencyMs?: number | undefined;
  maxDropPp: number;
  out?: string | undefined;
  /** Folder that every measured trial is kept in until the report is made; default: none is kept. */
  work?: string | undefined;
  /** Takes trials of the same search from `work`, and counts the time that they took. */
  resume?: boolean | undefined;
  seed: number;
  /**
   * Whether pre-pruning starts from the backbone adapted to the first task. Default: `auto` where pre-pruning is asked for by name; in the automatic search `off`, since the
   * training takes longer than what it tries.
   */
  adaptFirstTask?: AdaptMode | undefined;
  threads: number;
  /** Resident memory of a process that runs one model, bytes. */
  residentBytes?: ((model: Uint8Array, inputSize: number) => Promise<number | null>) | undefined;
  signal?: AbortSignal | undefined;
  onProgress?: ((line: string) => void) | undefined;
}
