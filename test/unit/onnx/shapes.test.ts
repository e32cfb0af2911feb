import { describe, expect, it } from 'vitest';
import {
  decodeModel,
  encodeModel,
  foldBatchNorm,
  graph,
  graphInfo,
  inferShapes,
  int64Tensor,
  int8Tensor,
  mapNodes,
  model,
  modelCost,
  node,
  scalar,
  setInitializer,
  float32Tensor,
  setInputSize,
  setOutputs,
  value,
  verifyShapes,
  withGraph,
} from '../../../main/onnx/index.ts';
import { smallNet } from './example-models.ts';

const shapeAt = (name: string, shape?: number[]) =>
  inferShapes(smallNet(), shape ? { inputShapes: { image: shape } } : {}).get(name)?.shape;

describe('shape inference', () => {
  it('follows symbols as far as they go', () => {
    expect(shapeAt('c1')).toEqual(['N', 8, null, null]);
    expect(shapeAt('pool')).toEqual(['N', 8, 1, 1]);
    expect(shapeAt('vector')).toEqual(['N', 8]);
    expect(shapeAt('logits')).toEqual(['N', 5]);
  });

  it('counts SAME_UPPER upwards', () => {
    expect(shapeAt('c1', [2, 3, 33, 64])).toEqual([2, 8, 17, 32]);
  });

  it('computes sizes as the runtime does, in float32: 0.7 of 10 is 7', () => {
    const resized = model(
      graph({
        inputs: [value('x', 'float32', [1, 3, 10, 10])],
        outputs: [value('y', 'float32', null)],
        nodes: [
          node('Shape', ['x'], ['shape'], { start: 2 }),
          node('Cast', ['shape'], ['sides'], { to: 1 }),
          node('Mul', ['sides', 'share'], ['scaled']),
          node('Cast', ['scaled'], ['whole'], { to: 7 }),
          node('Concat', ['others', 'whole'], ['sizes'], { axis: 0 }),
          node('Resize', ['x', '', '', 'sizes'], ['y']),
        ],
        initializers: { share: scalar(0.7), others: int64Tensor([2], [1, 3]) },
      }),
    );
    expect(inferShapes(resized).get('y')!.shape).toEqual([1, 3, 7, 7]);
  });

  it('leaves open what steps and axes of a Slice or Pad decide while it runs', () => {
    const told = (op: string, inputs: readonly string[]) =>
      inferShapes(
        model(
          graph({
            inputs: [value('x', 'float32', [1, 3, 10, 10]), value('given', 'int64', [1])],
            outputs: [value('y', 'float32', null)],
            nodes: [node(op, inputs, ['y'])],
            initializers: {
              start: int64Tensor([1], [0]),
              end: int64Tensor([1], [10]),
              axis: int64Tensor([1], [2]),
              pads: int64Tensor([2], [1, 1]),
            },
          }),
          { opset: 18 },
        ),
      ).get('y')!.shape;
    expect(told('Slice', ['x', 'start', 'end', 'axis', 'given'])).toEqual([1, 3, null, 10]);
    expect(told('Pad', ['x', 'pads', '', 'given'])).toEqual([null, null, null, null]);
  });

  it('leaves open what a convolution whose weight is computed gives, as far as its node does not state it', () => {
    const of = (op: string, stated: Record<string, number[]>) =>
      inferShapes(
        model(
          graph({
            inputs: [value('x', 'float32', [1, 3, 10, 10]), value('w', 'float32', [3, null, null, null])],
            outputs: [value('y', 'float32', null)],
            nodes: [node(op, ['x', 'w'], ['y'], stated)],
          }),
        ),
      ).get('y')!.shape;
    expect(of('Conv', {})).toEqual([1, 3, null, null]);
    expect(of('Conv', { kernel_shape: [3, 5] })).toEqual([1, 3, 8, 6]);
    expect(of('ConvTranspose', {})).toEqual([1, null, null, null]);
    expect(of('ConvTranspose', { kernel_shape: [3, 5] })).toEqual([1, null, 12, 14]);
    const pads = [6, 0, 6, 0];
    expect(() => of('ConvTranspose', { kernel_shape: [3, 5], pads })).toThrow(/padding 12 leaves nothing of 12/);
  });

  it('tells the type that QuantizeLinear states where it has no zero point', () => {
    const of = (attributes: Record<string, number>, zero: string[] = []) =>
      inferShapes(
        model(
          graph({
            inputs: [value('x', 'float32', [2])],
            outputs: [value('y')],
            nodes: [node('QuantizeLinear', ['x', 'scale', ...zero], ['y'], attributes)],
            initializers: { scale: scalar(1), zero: int8Tensor([], [0]) },
          }),
          { opset: 21 },
        ),
      ).get('y')!.type;
    expect(of({ output_dtype: 3 })).toBe('int8');
    expect(of({})).toBe('uint8');
    expect(of({ output_dtype: 0 }, ['zero'])).toBe('int8');
  });

  it('refuses channels that do not fit, naming the node', () => {
    const base = smallNet();
    const wrong = withGraph(base, setInitializer(base.graph, 'w2', float32Tensor([8, 2, 3, 3], new Float32Array(144))));
    expect(() => inferShapes(wrong)).toThrow(/"c2".*has 8 channels, its weight expects 16/);
  });

  it('follows the pads that PyTorch computes, innermost axis first, to those of Pad', () => {
    // F.pad(x, (1, 2, 3, h % 4)): exported as (1, 2, 3, h % 4, 0, 0, 0, 0), put into pairs, turned round and transposed.
    const padded = model(
      graph({
        inputs: [value('x', 'float32', ['N', 3, 'H', 'W'])],
        outputs: [value('y', 'float32', null)],
        nodes: [
          node('Shape', ['x'], ['shape']),
          node('Gather', ['shape', 'two'], ['height']),
          node('Neg', ['height'], ['less']),
          node('Mod', ['less', 'four'], ['last']),
          node('ConstantOfShape', ['four'], ['none'], { value: int64Tensor([1], [0]) }),
          node('Concat', ['given', 'last', 'none'], ['flat'], { axis: 0 }),
          node('Reshape', ['flat', 'pairs'], ['paired']),
          node('Slice', ['paired', 'end', 'beginning', 'zero', 'end'], ['turned']),
          node('Transpose', ['turned'], ['apart'], { perm: [1, 0] }),
          node('Reshape', ['apart', 'end'], ['long']),
          node('Cast', ['long'], ['pads'], { to: 7 }),
          node('Pad', ['x', 'pads'], ['y']),
        ],
        initializers: {
          two: int64Tensor([1], [2]),
          four: int64Tensor([1], [4]),
          given: int64Tensor([3], [1, 2, 3]),
          pairs: int64Tensor([2], [-1, 2]),
          end: int64Tensor([1], [-1]),
          beginning: int64Tensor([1], [-9223372036854775000]),
          zero: int64Tensor([1], [0]),
        },
      }),
    );
    const of = (shape: number[]) => inferShapes(padded, { inputShapes: { x: shape } });
    expect(of([1, 3, 30, 20]).get('pads')?.values).toEqual([0, 0, 3, 1, 0, 0, 2, 2]);
    expect(of([1, 3, 30, 20]).get('y')?.shape).toEqual([1, 3, 35, 23]);
    // The height is open, so it is not told; the others are.
    expect(inferShapes(padded).get('pads')?.values).toEqual([0, 0, 3, 1, 0, 0, null, 2]);
  });

  it('finds a stated output shape that is wrong', () => {
    const base = smallNet();
    const wrong = withGraph(base, setOutputs(base.graph, [value('logits', 'float32', ['N', 7])]));
    expect(() => verifyShapes(wrong)).toThrow(/\[N, 7\] is stated, \[N, 5\] follows/);
    expect(() => verifyShapes(base)).not.toThrow();
  });

  it('names an operator it does not know, or leaves it open', () => {
    const base = smallNet();
    const odd = withGraph(
      base,
      mapNodes(base.graph, (n) => (n.op === 'Relu' ? node('GridSample', ['c2', 'c2'], ['a2']) : n)),
    );
    expect(() => inferShapes(odd)).toThrow(/GridSample \(opset 17, node "a2"\)/);
    const info = graphInfo(odd);
    expect(info.notes.join()).toContain('GridSample');
    expect(info.ops['GridSample']).toEqual({ count: 1, macs: null, params: 0 });
  });
});

describe('costs', () => {
  it('are those counted by hand', () => {
    const cost = modelCost(smallNet(), [1, 3, 32, 32]);
    const byName = Object.fromEntries(cost.perNode.map((entry) => [entry.name, [entry.macs, entry.params]]));
    expect(byName['c1']).toEqual([16 * 16 * 8 * 27, 216]);
    expect(byName['n1']).toEqual([0, 16]);
    expect(byName['c2']).toEqual([16 * 16 * 8 * 9, 80]);
    expect(byName['logits']).toEqual([40, 45]);
    expect(cost.macs).toBe(16 * 16 * 8 * 36 + 40);
    expect(cost.params).toBe(216 + 16 + 80 + 45);
  });

  it('are summed per operator, and listed per node, by graphInfo', () => {
    const info = graphInfo(setInputSize(smallNet(), { height: 32, width: 32 }));
    expect(info.ops['Conv']).toEqual({ count: 2, macs: 16 * 16 * 8 * 36, params: 216 + 80 });
    expect(info.ops['Gemm']).toEqual({ count: 1, macs: 40, params: 45 });
    expect(info.ops['BatchNormalization']).toEqual({ count: 1, macs: 0, params: 16 });
    expect(info.nodes.find((entry) => entry.name === 'c2')).toEqual({
      name: 'c2',
      op: 'Conv',
      macs: 16 * 16 * 8 * 9,
      params: 80,
      outputShape: [1, 8, 16, 16],
    });
    expect(Object.values(info.ops).reduce((sum, row) => sum + row.params, 0)).toBe(info.params);
  });

  it('double with the batch', () => {
    expect(modelCost(smallNet(), [2, 3, 32, 32]).macs).toBe(2 * modelCost(smallNet(), [1, 3, 32, 32]).macs);
  });
});

describe('passes', () => {
  it('fold BatchNorm away, unless its convolution is also used elsewhere', () => {
    expect(foldBatchNorm(smallNet()).graph.nodes.map((n) => n.op)).not.toContain('BatchNormalization');
    const base = smallNet();
    const shared = withGraph(base, setOutputs(base.graph, [...base.graph.outputs, value('c1')]));
    expect(foldBatchNorm(shared).graph.nodes.map((n) => n.op)).toContain('BatchNormalization');
  });

  it('set the input size and state what follows', () => {
    const sized = decodeModel(encodeModel(setInputSize(smallNet(), { batch: 4, height: 48, width: 48 })));
    expect(sized.graph.inputs[0]!.shape).toEqual([4, 3, 48, 48]);
    expect(sized.graph.outputs[0]!.shape).toEqual([4, 5]);
  });
});
