import { expect, it } from 'vitest';
import { collectSamples, seededPositions } from '../../../main/compression/prune/samples.ts';
import { float32Tensor, graph, model, node, value } from '../../../main/onnx/index.ts';
import { noise, randomImages } from './networks.ts';

const IMAGES = 3;
const OUT = 2;
const KERNEL = 3;

const paddings = [
  { auto_pad: 'SAME_UPPER' },
  { auto_pad: 'SAME_LOWER' },
  { auto_pad: 'VALID' },
  { pads: [0, 1, 2, 1] },
] as const;

/** ORT does not dilate with SAME pads. */
const cases = paddings.flatMap((padding) =>
  [8, 9].flatMap((size) =>
    [1, 2].flatMap((stride) =>
      ('auto_pad' in padding && padding.auto_pad !== 'VALID' ? [1] : [1, 2]).map((dilation) => ({
        padding,
        size,
        stride,
        dilation,
      })),
    ),
  ),
);

it.each(cases)(
  'patches are what the runtime convolves ($padding, $size px, stride $stride, dilation $dilation)',
  async ({ padding, size, stride, dilation }) => {
    const weight = noise(OUT * 3 * KERNEL * KERNEL, 1);
    const conv = node('Conv', ['x', 'w'], ['y'], {
      kernel_shape: [KERNEL, KERNEL],
      strides: [stride, stride],
      dilations: [dilation, dilation],
      ...padding,
    });
    const of = model(
      graph({
        nodes: [conv],
        inputs: [value('x', 'float32', ['N', 3, 'H', 'W'])],
        outputs: [value('y')],
        initializers: new Map([['w', float32Tensor([OUT, 3, KERNEL, KERNEL], weight)]]),
      }),
    );
    const positions = seededPositions(1000, 1);
    const samples = await collectSamples(
      of,
      [
        { id: 'patch', tensor: 'x', kernel: conv, positions },
        { id: 'out', tensor: 'y', kernel: null, positions },
      ],
      randomImages(IMAGES),
      [0, 1, 2],
      { size, threads: 1 },
    );
    const [patch, out] = [samples.get('patch')!, samples.get('out')!];
    expect(patch.rows).toBe(out.rows);
    expect(patch.rows).toBeGreaterThan(0);
    for (let r = 0; r < out.rows; r++) {
      for (let o = 0; o < OUT; o++) {
        let sum = 0;
        for (let i = 0; i < patch.columns; i++)
          sum += patch.data[r * patch.columns + i]! * weight[o * patch.columns + i]!;
        expect(sum).toBeCloseTo(out.data[r * OUT + o]!, 4);
      }
    }
  },
);
