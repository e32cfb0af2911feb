import { intAttribute } from '../../onnx/index.ts';
import type { GradientRule, RuleContext, RuleRows } from '../rule.ts';
import { axisIn, reduceSum } from './emit.ts';

/* Opset 13 and later: along one axis (older versions flatten first). */

const alongAxis =
  (emit: (context: RuleContext, gradient: string, y: string, sum: (name: string) => string) => string): GradientRule =>
  (context, [gradient]) => {
    if (gradient === undefined || !context.wants(0)) return [undefined];
    const y = context.node.outputs[0]!;
    const axis = axisIn(intAttribute(context.node, 'axis', -1), context.shape(y).length);
    return [emit(context, gradient, y, (name) => reduceSum(context, name, [axis], true))];
  };

export const softmaxRules: RuleRows = [
  [
    'Softmax',
    // y (dY - sum(dY y))
    alongAxis((context, gradient, y, sum) => {
      const mean = sum(context.emit1('Mul', [gradient, y]));
      return context.emit1('Mul', [y, context.emit1('Sub', [gradient, mean])]);
    }),
  ],
  [
    'LogSoftmax',
    // dY - softmax sum(dY)
    alongAxis((context, gradient, y, sum) => {
      const share = context.emit1('Mul', [context.emit1('Exp', [y]), sum(gradient)]);
      return context.emit1('Sub', [gradient, share]);
    }),
  ],
];
