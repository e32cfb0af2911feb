import { describe, expect, it } from 'vitest';
import { isAppError } from '../../../main/contract/errors.ts';
import {
  analyseBackbone,
  decodeModel,
  float32Tensor,
  graph,
  int64Tensor,
  model,
  node,
  prepareBackbone,
  readNormalisation,
  scalar,
  selectFeatureOutputs,
  setInputSize,
  sidecarNames,
  value,
  type ConstTensor,
  type Dim,
  type Model,
  type Node,
  type Value,
} from '../../../main/onnx/index.ts';
import { halfInside } from '../../helpers/half-precision.ts';
import { noise } from './example-models.ts';

/** Writes networks layer by layer. */
class Net {
  readonly nodes: Node[] = [];
  readonly initializers = new Map<string, ConstTensor>();
  readonly inputs: Value[];
  #count = 0;

  constructor(shape: readonly Dim[] = ['N', 3, 'H', 'W']) {
    this.inputs = [value('image', 'float32', shape)];
  }

  constant(tensor: ConstTensor): string {
    const name = `k${this.initializers.size}`;
    this.initializers.set(name, tensor);
    return name;
  }

  op(
    op: string,
    inputs: string[],
    attributes: Parameters<typeof node>[3] = {},
    name = `${op}${++this.#count}`,
  ): string {
    this.nodes.push(node(op, inputs, [name], attributes));
    return name;
  }

  conv(
    x: string,
    from: number,
    to: number,
    options: { kernel?: number; stride?: number; group?: number } = {},
  ): string {
    const { kernel = 1, stride = 1, group = 1 } = options;
    const weight = this.constant(
      float32Tensor([to, from / group, kernel, kernel], noise((to * from * kernel * kernel) / group)),
    );
    const pad = (kernel - 1) / 2;
    return this.op('Conv', [x, weight], { strides: [stride, stride], pads: [pad, pad, pad, pad], group });
  }

  finish(outputs: string[]): Model {
    return model(
      graph({
        nodes: this.nodes,
        inputs: this.inputs,
        outputs: outputs.map((name) => value(name)),
        initializers: this.initializers,
      }),
    );
  }
}

const pooled = (net: Net, x: string) => net.op('Flatten', [net.op('GlobalAveragePool', [x])], {}, 'features');

/** Plain bottlenecks (ResNet v1.5): the narrow activation comes last at stride 16, the wide block output is the one to take. */
function resnet(): Model {
  const net = new Net();
  let x = net.op('Relu', [net.conv('image', 3, 16, { kernel: 7, stride: 2 })]);
  x = net.op('MaxPool', [x], { kernel_shape: [3, 3], strides: [2, 2], pads: [1, 1, 1, 1] });
  const block = (input: string, from: number, to: number, stride: number, name: string) => {
    const narrow = net.op('Relu', [net.conv(input, from, to / 4)]);
    const middle = net.op('Relu', [net.conv(narrow, to / 4, to / 4, { kernel: 3, stride })]);
    const sum = net.op('Add', [net.conv(middle, to / 4, to), net.conv(input, from, to, { stride })]);
    return net.op('Relu', [sum], {}, name);
  };
  x = block(x, 16, 32, 1, 'stage2');
  x = block(x, 32, 64, 2, 'stage3');
  x = block(x, 64, 128, 2, 'stage4');
  x = block(x, 128, 256, 2, 'stage5');
  return net.finish([
    net.op('Gemm', [pooled(net, x), net.constant(float32Tensor([256, 10], noise(2560)))], {}, 'logits'),
  ]);
}

/** Inverted bottlenecks with hard swish spelt out and squeeze-and-excite (MobileNetV3, EfficientNet). */
function mobilenetV3(): Model {
  const net = new Net();
  const [three, six, zero, sixth] = [3, 6, 0, 1 / 6].map((x) => net.constant(scalar(x)));
  const hardSwish = (x: string, name?: string) => {
    const gate = net.op('Clip', [net.op('Add', [x, three!]), zero!, six!]);
    return net.op('Mul', [net.op('Mul', [x, gate]), sixth!], {}, name);
  };
  const squeeze = (x: string, channels: number) => {
    const mean = net.op('GlobalAveragePool', [x]);
    const inner = net.op('Relu', [net.conv(mean, channels, channels / 4)]);
    return net.op('Mul', [x, net.op('HardSigmoid', [net.conv(inner, channels / 4, channels)])]);
  };
  const block = (input: string, from: number, to: number, stride: number, name: string) => {
    const wide = hardSwish(net.conv(input, from, from * 4), name);
    const spatial = hardSwish(
      net.conv(wide, from * 4, from * 4, { kernel: 3, stride, group: from * 4 }),
      `${name}/spatial`,
    );
    return net.conv(squeeze(spatial, from * 4), from * 4, to);
  };
  let x = hardSwish(net.conv('image', 3, 8, { kernel: 3, stride: 2 }));
  x = block(x, 8, 8, 2, 'expand4');
  x = block(x, 8, 16, 2, 'expand8');
  x = block(x, 16, 24, 2, 'expand16a');
  x = block(x, 24, 24, 1, 'expand16b');
  x = block(x, 24, 32, 2, 'expand16c');
  x = hardSwish(net.conv(x, 32, 192), 'last');
  return net.finish([pooled(net, x)]);
}

/** Patches, one attention-free mixing step, the class token: no maps after a non-linearity. */
function transformer(): Model {
  const net = new Net(['N', 3, 64, 64]);
  const patches = net.conv('image', 3, 32, { kernel: 15, stride: 16 });
  const flat = net.op('Reshape', [patches, net.constant(int64Tensor([3], [0, 32, -1]))]);
  const tokens = net.op('Transpose', [flat], { perm: [0, 2, 1] });
  const mixed = net.op('Gelu', [net.op('MatMul', [tokens, net.constant(float32Tensor([32, 32], noise(1024)))])]);
  const first = net.op('Gather', [mixed, net.constant(int64Tensor([], [0]))], { axis: 1 }, 'token');
  return net.finish([net.op('Gemm', [first, net.constant(float32Tensor([32, 10], noise(320)))], {}, 'logits')]);
}

const prepare = (of: Model, features?: string[]) =>
  prepareBackbone(of, {
    id: 'b',
    file: 'b.onnx',
    source: 'b',
    licence: 'none',
    ...(features && { features }),
  });

const problemOf = (of: Model, features?: string[]): string => {
  try {
    prepare(of, features);
  } catch (error) {
    if (isAppError(error, 'BACKBONE_UNSUITABLE')) return error.message;
    throw error;
  }
  return 'it was accepted';
};

describe('the features of an unknown model', () => {
  it.each<[string, Model, string[]]>([
    ['ResNet: block outputs', resnet(), ['stage4', 'features']],
    ['MobileNetV3: around the block that goes to stride 32', mobilenetV3(), ['expand16c', 'expand16c/spatial']],
    ['transformer: what the last layer reads', transformer(), ['token']],
  ])('%s', (_name, of, expected) => {
    const analysis = analyseBackbone(of);
    expect(analysis.problems).toEqual([]);
    expect(analysis.featureOutputs.map((feature) => feature.name)).toEqual(expected);
  });

  it('are found again after the file was written and read', () => {
    const { bytes, backbone, analysis } = prepare(resnet());
    expect(backbone).toMatchObject({
      inputName: 'image',
      inputSize: 224,
      dynamicSize: true,
      features: 384,
      params: expect.any(Number),
    });
    expect(backbone.featureOutputs).toEqual([
      { name: 'features_s16', channels: 128, kind: 'pooled', map: 'map_s16' },
      { name: 'features_s32', channels: 256, kind: 'pooled', map: 'map_s32' },
    ]);
    expect(analysis.alternatives.map((other) => other.name)).toContain('logits');
    const cut = decodeModel(bytes);
    // The classifier is gone.
    expect(cut.graph.nodes.some((n) => n.op === 'Gemm')).toBe(false);
    expect(analyseBackbone(cut).featureOutputs.map((feature) => feature.name)).toEqual([
      'features_s16',
      'features_s32',
    ]);
  });

  it('can be named instead', () => {
    const { backbone } = prepare(resnet(), ['stage3', 'logits']);
    expect(backbone.featureOutputs).toEqual([
      { name: 'features_1', channels: 64, kind: 'pooled', map: 'map_1' },
      { name: 'features_2', channels: 10, kind: 'pooled' },
    ]);
    expect(selectFeatureOutputs(resnet(), ['stage3']).graph.outputs[0]).toMatchObject({
      name: 'stage3/pooled',
      shape: ['N', 64],
    });
  });

  it('are at a fixed size where the graph fixes it', () => {
    const analysis = analyseBackbone(transformer());
    expect([analysis.inputSize, analysis.dynamicSize]).toEqual([64, false]);
  });

  it('of a file with a fixed batch are freed of it', () => {
    const fixed = setInputSize(resnet(), { batch: 1, height: 160, width: 160 });
    expect(analyseBackbone(fixed)).toMatchObject({ fixedBatch: 1, inputSize: 160, dynamicSize: false, problems: [] });
    expect(decodeModel(prepare(fixed).bytes).graph.inputs[0]!.shape).toEqual(['N', 3, 160, 160]);
  });
});

describe('what cannot serve is refused with the reason', () => {
  const onlyConv = (shape: Dim[], extra: Value[] = [], type: Value['type'] = 'float32') => {
    const net = new Net(shape);
    net.inputs[0] = { ...net.inputs[0]!, type };
    net.inputs.push(...extra);
    const channels = Number(shape[1]) || 3;
    return net.finish([net.op('Relu', [net.conv('image', channels, 8, { kernel: 3, stride: 2 })])]);
  };
  it.each<[string, Model, RegExp]>([
    ['channels last', onlyConv(['N', 224, 224, 3]), /channels last is not supported/],
    ['channels last of open sizes', onlyConv(['N', 'H', 'W', 3]), /\[N, H, W, 3\] \(channels last is not supported/],
    [
      'channels last, nothing named',
      onlyConv([null, null, null, 3]),
      /\[\?, \?, \?, 3\] \(channels last is not supported/,
    ],
    ['one channel', onlyConv(['N', 1, 'H', 'W']), /no input is an RGB image .*image \[N, 1, H, W\]/],
    [
      'a second input',
      onlyConv(['N', 3, 'H', 'W'], [value('boxes', 'float32', ['N', 4])]),
      /also needs the input boxes/,
    ],
    ['half floats', onlyConv(['N', 3, 'H', 'W'], [], 'float16'), /is float16, not float32/],
    ['half floats inside', halfInside(resnet()), /Cast "image\/cast" gives float16.* export it in float32/],
    ['not square', onlyConv(['N', 3, 128, 256]), /256 x 128 pixels, not square/],
  ])('%s', (_name, of, expected) => {
    expect(problemOf(of)).toMatch(expected);
  });

  it('no features at all: lists what could be chosen', () => {
    const net = new Net();
    const linear = net.finish([net.conv('image', 3, 8, { kernel: 3, stride: 2 })]);
    expect(problemOf(linear)).toMatch(/no map after a non-linearity.*could be chosen: Conv1 \(8\)/);
    expect(prepare(linear, ['Conv1']).backbone.features).toBe(8);
  });

  it('a wrong name', () => {
    expect(problemOf(resnet(), ['ghost'])).toMatch(/no value "ghost"/);
  });
});

describe('the normalisation beside a model', () => {
  it.each<[string, number[] | null, number[] | null]>([
    ['Input "input"; x=(p-128)/127 on 0..255', [128, 128, 128], [127, 127, 127]],
    ['x = ( p - 127.5 ) / 127.5', [127.5, 127.5, 127.5], [127.5, 127.5, 127.5]],
    ['{"mean": [0.5, 0.25, 0], "std": [0.2, 0.4, 1]}', [127.5, 63.75, 0], [51, 102, 255]],
    ['{"mean": 127.5, "std": 58}', [127.5, 127.5, 127.5], [58, 58, 58]],
    ['x=(p-0.5)/0.5 (pixels 0..1)', [127.5, 127.5, 127.5], [127.5, 127.5, 127.5]],
    // Not every value is at most 1: pixels of 0..255, as Caffe has them.
    ['{"mean": [103.9, 116.8, 123.7], "std": [1, 1, 1]}', [103.9, 116.8, 123.7], [1, 1, 1]],
    ['{"mean": 0, "std": 255}', [0, 0, 0], [255, 255, 255]],
    ['{"mean": 0, "std": 1}', [0, 0, 0], [255, 255, 255]],
    ['{"mean": 0, "std": 1, "pixels": 255}', [0, 0, 0], [1, 1, 1]],
    ['{"mean": 2, "std": 0.5, "pixels": 1}', [510, 510, 510], [127.5, 127.5, 127.5]],
    ['{"mean": 0, "std": 1, "pixels": 100}', null, null],
    ['{"mean": 127.5, "std": 0}', null, null],
    ['nothing about it', null, null],
    ['(p-1)/0', null, null],
  ])('%s', (text, mean, std) => {
    const found = readNormalisation(text);
    expect(found?.mean ?? null).toEqual(mean);
    expect(found?.std ?? null).toEqual(std);
  });

  it('is looked for in these files', () => {
    expect(sidecarNames('/a/b.onnx')).toEqual(['/a/b.onnx.json', '/a/b.json', '/a/b.onnx.md', '/a/b.md']);
  });
});
