import type { GradientRule } from '../rule.ts';
import { activationRules } from './activation.ts';
import { convolutionRules } from './convolution.ts';
import { elementwiseRules } from './elementwise.ts';
import { layoutRules } from './layout.ts';
import { matrixRules } from './matrix.ts';
import { normalisationRules } from './normalisation.ts';
import { poolingRules } from './pooling.ts';
import { reductionRules } from './reduction.ts';
import { softmaxRules } from './softmax.ts';

/** Operator (of ai.onnx, or of the training ops' domain) -> its gradient. A missing row is UNSUPPORTED_OP. */
export const gradientRules: ReadonlyMap<string, GradientRule> = new Map([
  ...convolutionRules,
  ...normalisationRules,
  ...poolingRules,
  ...activationRules,
  ...elementwiseRules,
  ...matrixRules,
  ...reductionRules,
  ...layoutRules,
  ...softmaxRules,
]);
