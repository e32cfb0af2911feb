import { textAttribute } from '../build.ts';
import type { Dim } from '../model.ts';
import { knownSize, shapeOf, typeOf, type OpContext, type OpFacts } from './facts.ts';

/** `ij,jk->ik`; without an arrow the labels that occur once, in alphabetical order. Ellipses are not followed. */
function einsumTerms(context: OpContext): { inputs: string[]; output: string } {
  const equation = textAttribute(context.node, 'equation', '').replaceAll(/\s/g, '');
  const [left = '', right] = equation.split('->');
  const inputs = left.split(',');
  if (equation.includes('.')) throw context.unsupported(`the equation "${equation}" with an ellipsis`);
  if (!/^[a-zA-Z,]*(->[a-zA-Z]*)?$/.test(equation) || inputs.length !== context.inputs.length) {
    throw context.fail(`the equation "${equation}" does not fit ${context.inputs.length} inputs`);
  }
  const all = inputs.join('');
  const once = [...new Set(all)].filter((label) => all.indexOf(label) === all.lastIndexOf(label));
  const output = right ?? once.toSorted().join('');
  const unknown = [...output].find((label) => !all.includes(label));
  if (unknown) throw context.fail(`the equation "${equation}" makes "${unknown}" from nothing`);
  return { inputs, output };
}

function labelSizes(context: OpContext, inputs: readonly string[]): ReadonlyMap<string, Dim> | null {
  const sizes = new Map<string, Dim>();
  for (const [i, labels] of inputs.entries()) {
    const shape = shapeOf(context, i);
    if (!shape) return null;
    if (shape.length !== labels.length) throw context.fail(`"${labels}" for a tensor of rank ${shape.length}`);
    [...labels].forEach((label, axis) => {
      const [known, dim] = [sizes.get(label), shape[axis]!];
      const both = typeof known === 'number' && typeof dim === 'number';
      if (both && known !== dim && known !== 1 && dim !== 1) {
        throw context.fail(`sizes ${known} and ${dim} for "${label}"`);
      }
      if (known == null || known === 1 || (typeof known !== 'number' && dim !== 1)) sizes.set(label, dim);
    });
  }
  return sizes;
}

export const einsumFacts: [string, OpFacts][] = [
  [
    'Einsum',
    {
      infer: (context) => {
        const { inputs, output } = einsumTerms(context);
        const sizes = labelSizes(context, inputs);
        return [{ type: typeOf(context, 0), shape: sizes && [...output].map((label) => sizes.get(label)!) }];
      },
      // Of a contraction without intermediate sums; an upper bound for three operands and more.
      macs: (context) => {
        const sizes = labelSizes(context, einsumTerms(context).inputs);
        return knownSize(context, sizes && [...sizes.values()]);
      },
      params: [0, 1],
    },
  ],
];
