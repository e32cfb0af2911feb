import type { Backbone } from '../contract/domain.ts';
import type { AdaptMode } from './adapt.ts';
import type { Curriculum, StudentStart, Teaching } from './distill/teach-student.ts';
import type { ImportanceOptions } from './prune/measures.ts';
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
  /** Folder that times of layers on this PC are kept in; default: they are measured in each search. */
  costs?: string | undefined;
  /** Takes trials of the same search from `work`, and counts the time that they took. */
  resume?: boolean | undefined;
  /** What a channel's worth is measured by; default: how well the others make up for it. */
  importance?: ImportanceOptions | undefined;
  seed: number;
  /**
   * Whether pre-pruning starts from the backbone adapted to the first task. Default: `auto` where pre-pruning is asked for by name; in the automatic search `off`, since the
   * training takes longer than what it tries.
   */
  adaptFirstTask?: AdaptMode | undefined;
  /** How a student begins; `auto`: the pruned backbone or the largest family that fits, whichever loses less on held-out images. Default: pruned in the automatic search, else `auto`. */
  student?: StudentStart | 'auto' | undefined;
  /** What it is taught by; `auto`: whichever loses less. Default: features, without labels. */
  teach?: Curriculum | 'auto' | undefined;
  threads: number;
  /** Resident memory of a process that runs one model, bytes. */
  residentBytes?: ((model: Uint8Array, inputSize: number) => Promise<number | null>) | undefined;
  signal?: AbortSignal | undefined;
  onProgress?: ((line: string) => void) | undefined;
}

/** The ways that students go, from the options; what is compared takes its time, so the automatic search has one way only. */
export const studentsOf = ({
  strategy,
  student,
  teach = 'features',
}: Pick<CompressDatasetOptions, 'strategy' | 'student' | 'teach'>): Pick<Teaching, 'starts' | 'curricula'> => {
  const start = student ?? (strategy === 'distill' ? 'auto' : 'pruned');
  return {
    starts: start === 'auto' ? ['pruned', 'fitting'] : [start],
    curricula: teach === 'auto' ? ['features', 'tasks'] : [teach],
  };
};
