import { intsAttribute, textAttribute } from '../build.ts';
import type { Dim } from '../model.ts';
import { axisOf, numbersIn, shapeOf, sized, type OpContext, type OpFacts, type TensorInfo } from './facts.ts';

/** Resize-10 to -19 and Upsample: sizes win over scales; `axes` (18) restricts both to some axes. */
function resize(context: OpContext): TensorInfo[] {
  const input = shapeOf(context, 0);
  if (!input) return sized(context, null);
  if (textAttribute(context.node, 'coordinate_transformation_mode', 'half_pixel') === 'tf_crop_and_resize') {
    throw context.unsupported('cropping while resizing');
  }
  const old = context.node.op === 'Upsample' || context.opset < 11;
  const sizes = old ? undefined : context.inputs[3]?.values;
  const attribute = context.node.attributes.get('scales');
  const scales = attribute?.kind === 'floats' ? attribute.value : numbersIn(context, old ? 1 : 2);
  const axes = (intsAttribute(context.node, 'axes') ?? [...input.keys()]).map((axis) =>
    axisOf(context, axis, input.length),
  );
  const dims: Dim[] = [...input];
  if (sizes?.length === axes.length) {
    const wished = fitted(context, input, axes, sizes);
    axes.forEach((axis, i) => (dims[axis] = wished[i]!));
  } else if (scales?.length === axes.length) {
    axes.forEach((axis, i) => {
      const dim = dims[axis]!;
      // The runtime multiplies in float32.
      if (scales[i] !== 1) dims[axis] = typeof dim === 'number' ? Math.floor(Math.fround(dim * scales[i]!)) : null;
    });
  } else {
    for (const axis of axes) dims[axis] = null;
  }
  return sized(context, dims);
}

/** keep_aspect_ratio_policy: one scale for all axes, the smallest or largest of those the sizes ask for. */
function fitted(
  context: OpContext,
  input: readonly Dim[],
  axes: readonly number[],
  sizes: readonly Dim[],
): readonly Dim[] {
  const policy = textAttribute(context.node, 'keep_aspect_ratio_policy', 'stretch');
  if (policy === 'stretch') return sizes;
  const ratios = axes.map((axis, i) => {
    const [from, to] = [input[axis], sizes[i]];
    return typeof from === 'number' && typeof to === 'number' ? to / from : NaN;
  });
  const scale = policy === 'not_larger' ? Math.min(...ratios) : Math.max(...ratios);
  return axes.map((axis) => (Number.isNaN(scale) ? null : Math.round(scale * Number(input[axis]))));
}

export const resizeFacts: [string, OpFacts][] = [
  ['Resize', { infer: resize }],
  ['Upsample', { infer: resize }],
];
