import { TRAINING_DOMAIN } from '../../../autodiff/index.ts';
import { activationTrainingRows } from './activation-gradients.ts';
import { convolutionRows, convolutionTrainingRows } from './convolution.ts';
import { elementwiseRows } from './elementwise.ts';
import { layoutRows } from './layout.ts';
import { matrixRows } from './matrix.ts';
import { normalisationRows, normalisationTrainingRows } from './normalisation.ts';
import { poolingRows, poolingTrainingRows } from './pooling.ts';
import { reductionRows } from './reduction.ts';
import { resizeRows } from './resize.ts';
import type { OpRow } from './row.ts';

/** Rows by domain and op. */
export const tables: ReadonlyMap<string, ReadonlyMap<string, OpRow>> = new Map([
  [
    '',
    new Map([
      ...elementwiseRows,
      ...reductionRows,
      ...matrixRows,
      ...layoutRows,
      ...resizeRows,
      ...convolutionRows,
      ...poolingRows,
      ...normalisationRows,
    ]),
  ],
  [
    TRAINING_DOMAIN,
    new Map([
      ...convolutionTrainingRows,
      ...poolingTrainingRows,
      ...normalisationTrainingRows,
      ...activationTrainingRows,
    ]),
  ],
]);
