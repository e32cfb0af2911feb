import { convolutionFacts } from './convolution.ts';
import { elementwiseFacts } from './elementwise.ts';
import { einsumFacts } from './einsum.ts';
import type { OpFacts } from './facts.ts';
import { indexingFacts } from './indexing.ts';
import { layoutFacts } from './layout.ts';
import { matrixFacts } from './matrix.ts';
import { reductionFacts } from './reduction.ts';
import { resizeFacts } from './resize.ts';
import { shapeValueFacts } from './shape-values.ts';

/** ai.onnx operator -> what is known of it. A missing row is UNSUPPORTED_OP. */
export const opFacts: ReadonlyMap<string, OpFacts> = new Map([
  ...elementwiseFacts,
  ...convolutionFacts,
  ...matrixFacts,
  ...layoutFacts,
  ...indexingFacts,
  ...reductionFacts,
  ...resizeFacts,
  ...einsumFacts,
  ...shapeValueFacts,
]);
