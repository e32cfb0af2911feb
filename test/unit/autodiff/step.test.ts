import { describe, expect, it } from 'vitest';
import {
  buildTrainingStep,
  expandTrainingOps,
  TRAINING_DOMAIN,
  trainingFacts,
  writeState,
} from '../../../main/autodiff/index.ts';
import { isAppError } from '../../../main/contract/errors.ts';
import {
  buildNetwork,
  decodeModel,
  encodeModel,
  float32Of,
  graph,
  inferShapes,
  model,
  node,
  setInitializer,
  value,
  verifyStructure,
  withGraph,
  float32Tensor,
  type ConstTensor,
} from '../../../main/onnx/index.ts';
import { openSession } from '../../../main/runtime/session.ts';
import { peakLiveBytes } from './peak-live-bytes.ts';
import { openStep, smallBatch, smallNet, smallSpec } from './small-net.ts';

const detailsOf = (make: () => unknown) => {
  try {
    make();
  } catch (error) {
    if (isAppError(error)) return { code: error.code, ...error.details };
    throw error;
  }
  throw new Error('nothing was thrown');
};

describe('a training step', () => {
  it.each([
    ['batch statistics', smallSpec()],
    ['frozen statistics', smallSpec({ batchNorm: 'frozen' })],
    ['recomputed activations', smallSpec({ recompute: 'activations' })],
    [
      'clipping and AdamW',
      smallSpec({
        clipNorm: 1,
        optimizer: { kind: 'adamw', beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.01 },
        schedule: { kind: 'constant', learningRate: 0.02 },
      }),
    ],
  ])('lowers the loss in ORT: %s', async (_name, spec) => {
    await using run = await openStep(spec);
    const losses: number[] = [];
    for (let i = 0; i < 60; i++) losses.push(Number((await run.run(smallBatch()))[run.step.loss]!.data[0]));
    expect(losses[0]).toBeCloseTo(Math.log(3), 0);
    expect(losses.at(-1)).toBeLessThan(losses[0]! / 2);
    expect(run.state['stepCount']!.data[0]).toBe(60n);
  });

  it('takes a whole model as state and gives it back', async () => {
    await using run = await openStep(smallSpec());
    for (let i = 0; i < 30; i++) await run.run(smallBatch());
    const parameters = run.step.state.filter(({ role }) => role === 'parameter' || role === 'running');
    const values = new Map(
      parameters.map(({ name, parameter }) => [parameter!, run.state[name]!.data as Float32Array]),
    );
    expect([...values.keys()].sort()).toEqual(
      [...smallNet().graph.initializers.keys()].filter((name) => name !== 'zero' && name !== 'six').sort(),
    );
    const trained = decodeModel(encodeModel(writeState(smallNet(), values)));
    for (const [name, data] of values) expect(float32Of(trained.graph.initializers.get(name)!)).toEqual(data);
    expect(() => writeState(smallNet(), new Map([['fc.bias', new Float32Array(4)]]))).toThrow(/fc\.bias/);
    expect(() => writeState(smallNet(), new Map([['nothing', new Float32Array(4)]]))).toThrow(/nothing/);
    await using session = await openSession(encodeModel(trained), { threads: 1 });
    expect((await session.run({ input: smallBatch()['input']! }))['logits']!.dims).toEqual([6, 3]);
  });

  it('has a static shape for every value, and stands by inferShapes', () => {
    const { model: step } = buildTrainingStep(smallSpec({ clipNorm: 1 }));
    const infos = inferShapes(step, { extraFacts: trainingFacts });
    for (const output of step.graph.nodes.flatMap((item) => item.outputs)) {
      const stated = step.graph.valueInfo.get(output) ?? step.graph.outputs.find(({ name }) => name === output);
      expect(stated?.shape, output).toEqual(infos.get(output)!.shape);
    }
    verifyStructure(step);
    const plain = expandTrainingOps(step);
    expect(plain.graph.nodes.some(({ domain }) => domain === TRAINING_DOMAIN)).toBe(false);
    expect(plain.opsets.has(TRAINING_DOMAIN)).toBe(false);
  });

  it('trains the named parameters alone, the rest are constants', () => {
    const step = buildTrainingStep(smallSpec({ trainable: ['fc.weight'], batchNorm: 'frozen' }));
    expect(step.state.map(({ role, parameter }) => [role, parameter])).toEqual([
      ['parameter', 'fc.weight'],
      ['momentum', 'fc.weight'],
      ['stepCount', undefined],
    ]);
    expect(step.model.graph.nodes.some(({ op }) => op.startsWith('Conv') && op !== 'Conv')).toBe(false);
  });

  it('holds fewer bytes when activations are computed again, for the same numbers', async () => {
    // A narrow network and a large batch: activations outweigh the weights.
    const network = buildNetwork('mobilenet_v2', { classes: 3, size: 64, width: 0.35, batch: 16, seed: 1 });
    const spec = smallSpec({ model: network, inputShapes: {} });
    const kept = buildTrainingStep(spec).model;
    const again = buildTrainingStep({ ...spec, recompute: 'activations' }).model;
    expect(peakLiveBytes(again)).toBeLessThan(0.8 * peakLiveBytes(kept));
    expect(peakLiveBytes(expandTrainingOps(again))).toBeLessThan(0.8 * peakLiveBytes(expandTrainingOps(kept)));
    await using a = await openStep(smallSpec());
    await using b = await openStep(smallSpec({ recompute: 'activations' }));
    await a.run(smallBatch());
    await b.run(smallBatch());
    for (const { name } of a.step.state) {
      const [x, y] = [a.state[name]!.data, b.state[name]!.data];
      x.forEach((item, i) => expect(Math.abs(Number(item) - Number(y[i]))).toBeLessThan(1e-5));
    }
  });

  it('finds a maximum where it was taken, when activations are computed again', async () => {
    const { graph: whole, ...rest } = smallNet();
    const nodes = whole.nodes.map((item) => (item.op === 'Clip' ? node('Max', ['n2', 'zero'], item.outputs) : item));
    const spec = { model: { ...rest, graph: { ...whole, nodes } } };
    await using a = await openStep(smallSpec(spec));
    await using b = await openStep(smallSpec({ ...spec, recompute: 'activations' }));
    await a.run(smallBatch());
    await b.run(smallBatch());
    for (const { name } of a.step.state) {
      const [x, y] = [a.state[name]!.data, b.state[name]!.data];
      x.forEach((item, i) => expect(Math.abs(Number(item) - Number(y[i])), name).toBeLessThan(1e-5));
    }
  });

  it('gives out values of the forward graph', async () => {
    await using run = await openStep(smallSpec({ extraOutputs: ['logits', 'f'] }));
    const results = await run.run(smallBatch());
    expect(run.step.extraOutputs.map((name) => results[name]!.dims)).toEqual([
      [6, 3],
      [6, 8],
    ]);
  });
});

describe('peakLiveBytes', () => {
  it('counts a value from its maker to its last reader', () => {
    const of = (names: string[]) => new Map(names.map((name) => [name, value(name, 'float32', [10])]));
    const chain = graph({
      nodes: ['a', 'b', 'c', 'd'].map((name, i) => node('Relu', [i === 0 ? 'x' : ['a', 'b', 'c'][i - 1]!], [name])),
      inputs: [value('x', 'float32', [10])],
      outputs: [value('d', 'float32', [10])],
    });
    expect(peakLiveBytes(model({ ...chain, valueInfo: of(['a', 'b', 'c']) }))).toBe(80);
    const held = { ...chain, nodes: [...chain.nodes.slice(0, 3), node('Add', ['a', 'c'], ['d'])] };
    expect(peakLiveBytes(model({ ...held, valueInfo: of(['a', 'b', 'c']) }))).toBe(120);
  });
});

describe('what cannot be trained is named', () => {
  it('an op without a rule', () => {
    const net = smallNet();
    const odd = {
      ...net.graph,
      nodes: net.graph.nodes.map((item) => (item.op === 'Flatten' ? node('Celu', ['g'], ['g2']) : item)),
    };
    const nodes = [...odd.nodes.slice(0, 11), node('Flatten', ['g2'], ['f']), odd.nodes[11]!];
    const spec = smallSpec({ model: withGraph(net, { ...odd, nodes }) });
    expect(detailsOf(() => buildTrainingStep(spec))).toMatchObject({
      code: 'UNSUPPORTED_OP',
      op: 'Celu',
      opset: 17,
      node: 'g2',
    });
  });

  it('an op nobody knows', () => {
    const net = smallNet();
    const nodes = net.graph.nodes.map((item) =>
      item.op === 'GlobalAveragePool' ? node('Frobnicate', ['r3'], ['g']) : item,
    );
    const spec = smallSpec({ model: withGraph(net, { ...net.graph, nodes }) });
    expect(detailsOf(() => buildTrainingStep(spec))).toMatchObject({
      code: 'UNSUPPORTED_OP',
      op: 'Frobnicate',
      node: 'g',
    });
  });

  it.each(['float16', 'int8'] as const)('a weight of %s', (type) => {
    const net = smallNet();
    const size = type === 'int8' ? 1 : 2;
    const tensor: ConstTensor = { type, dims: [8, 6, 1, 1], bytes: new Uint8Array(48 * size) };
    const spec = smallSpec({ model: withGraph(net, setInitializer(net.graph, 'conv3.weight', tensor)) });
    expect(detailsOf(() => buildTrainingStep(spec))).toMatchObject({ code: 'UNSUPPORTED_OP', op: 'Conv', node: 'c3' });
    const named = detailsOf(() => buildTrainingStep({ ...spec, trainable: ['conv3.weight'] }));
    expect(named).toMatchObject({ code: 'UNSUPPORTED_OP', op: 'Conv', node: 'c3' });
  });

  it('an open size, and an operator set nobody wrote rules for', () => {
    expect(detailsOf(() => buildTrainingStep(smallSpec({ inputShapes: {} })))).toMatchObject({ code: 'INVALID_INPUT' });
    expect(detailsOf(() => buildTrainingStep(smallSpec({ inputShapes: { input: [6, 4, 8, 8] } })))).toMatchObject({
      code: 'INVALID_INPUT',
    });
    for (const opset of [11, 22]) {
      const old = { ...smallNet(), opsets: new Map([['', opset]]) };
      expect(detailsOf(() => buildTrainingStep(smallSpec({ model: old })))).toMatchObject({
        code: 'UNSUPPORTED_OP',
        opset,
      });
    }
  });

  it('a parameter that nothing depends on, a missing value, class weights that do not fit', () => {
    for (const spec of [
      smallSpec({ trainable: ['nothing'] }),
      smallSpec({ losses: [{ kind: 'crossEntropy', logits: 'nothing' }] }),
      smallSpec({ losses: [{ kind: 'crossEntropy', logits: 'logits', classWeights: [1, 2] }] }),
      smallSpec({ losses: [] }),
    ]) {
      expect(detailsOf(() => buildTrainingStep(spec))).toMatchObject({ code: 'INVALID_INPUT' });
    }
  });

  it('batch statistics of a single value', () => {
    const tiny = model(
      graph({
        nodes: [node('BatchNormalization', ['x', 's', 'b', 'm', 'v'], ['y'])],
        inputs: [value('x', 'float32', [1, 2, 1, 1])],
        outputs: [value('y', 'float32', [1, 2, 1, 1])],
        initializers: Object.fromEntries(['s', 'b', 'm', 'v'].map((name) => [name, float32Tensor([2], [1, 1])])),
      }),
    );
    const spec = smallSpec({ model: tiny, inputShapes: {}, losses: [{ kind: 'mse', value: 'y', target: 't' }] });
    expect(detailsOf(() => buildTrainingStep(spec))).toMatchObject({
      code: 'UNSUPPORTED_OP',
      op: 'BatchNormalization',
    });
  });
});
