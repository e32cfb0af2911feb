import { describe, expect, it } from 'vitest';
import {
  addNodes,
  appendNodes,
  decodeModel,
  eliminateDead,
  encodeModel,
  float32Tensor,
  graph,
  indexGraph,
  mapNodes,
  model,
  node,
  renameValue,
  replaceNode,
  selectOutputs,
  setInputSize,
  setOutputs,
  sortNodes,
  usedBy,
  value,
  verifyStructure,
  withGraph,
  type Graph,
} from '../../../main/onnx/index.ts';
import { smallNet } from './example-models.ts';

const problem = (change: (graph: Graph) => Graph): string => {
  const base = smallNet();
  try {
    verifyStructure(withGraph(base, change(base.graph)));
  } catch (error) {
    return (error as Error).message;
  }
  return 'accepted';
};

describe('verifyStructure names what is wrong', () => {
  it.each<[string, (graph: Graph) => Graph, RegExp]>([
    [
      'a value that nothing makes',
      (g) => ({ ...g, nodes: g.nodes.toSpliced(2, 1) }),
      /reads "a1", which nothing makes/,
    ],
    ['a wrong order', (g) => ({ ...g, nodes: g.nodes.toReversed() }), /before it is made/],
    [
      'a cycle',
      (g) => mapNodes(g, (n) => (n.op === 'Clip' ? { ...n, inputs: ['sum', 'zero', 'six'] } : n)),
      /reads "sum" before it is made/,
    ],
    [
      'two makers',
      (g) => mapNodes(g, (n) => (n.op === 'Relu' ? [n, { ...n, name: 'again' }] : n)),
      /"a2", which exists already/,
    ],
    ['no output', (g) => setOutputs(g, []), /no output/],
    ['an output that nothing makes', (g) => setOutputs(g, [value('ghost')]), /"ghost"/],
    ['an output twice', (g) => setOutputs(g, [value('sum'), value('sum')]), /twice/],
    ['an operator set without version', (g) => mapNodes(g, (n) => ({ ...n, domain: 'com.example' })), /com\.example/],
    [
      'a constant of the wrong size',
      (g) => ({
        ...g,
        initializers: new Map([
          ...g.initializers,
          ['b3', { type: 'float32' as const, dims: [5], bytes: new Uint8Array(8) }],
        ]),
      }),
      /needs 20 bytes, it has 8/,
    ],
  ])('%s', (_name, change, expected) => {
    expect(problem(change)).toMatch(expected);
  });

  it('accepts the untouched model', () => {
    expect(problem((g) => g)).toBe('accepted');
  });
});

describe('edits', () => {
  it('never change what they were given', () => {
    const base = smallNet();
    const before = Buffer.from(encodeModel(base));
    const { graph: g } = base;
    addNodes(g, [node('Relu', ['sum'], ['extra'])], { k: float32Tensor([1], [1]) });
    replaceNode(g, g.nodes[4]!, node('Sigmoid', ['c2'], ['a2']));
    renameValue(g, 'sum', 'total');
    eliminateDead(setOutputs(g, [value('a1')]));
    selectOutputs(base, ['a1']);
    setInputSize(base, { height: 32, width: 32 });
    expect(Buffer.compare(encodeModel(base), before)).toBe(0);
  });

  it('sort nodes given in any order, and find cycles', () => {
    const { graph: g } = smallNet();
    const sorted = sortNodes({ ...g, nodes: g.nodes.toReversed() });
    expect(() => verifyStructure(withGraph(smallNet(), sorted))).not.toThrow();
    const cyclic = mapNodes(g, (n) => (n.op === 'Clip' ? { ...n, inputs: ['sum', 'zero', 'six'] } : n));
    expect(() => sortNodes(cyclic)).toThrow(/depends on its own output/);
  });

  it('sort a chain of 100,000 nodes without overflowing the stack', () => {
    const nodes = Array.from({ length: 100_000 }, (_, i) => node('Relu', [`v${i}`], [`v${i + 1}`])).toReversed();
    const chain = graph({ nodes, inputs: [value('v0')], outputs: [value('v100000')] });
    expect(sortNodes(chain).nodes[0]!.inputs).toEqual(['v0']);
  });

  it('drop what no output needs', () => {
    const cut = selectOutputs(smallNet(), ['a1']).graph;
    expect(cut.nodes.map((n) => n.op)).toEqual(['Conv', 'BatchNormalization', 'Clip']);
    expect([...cut.initializers.keys()].sort()).toEqual(['mean', 'scale', 'shift', 'six', 'variance', 'w1', 'zero']);
    expect(cut.inputs.map((input) => input.name)).toEqual(['image']);
  });

  it('rename a value everywhere, and refuse a taken name', () => {
    const renamed = renameValue(smallNet().graph, 'a1', 'first');
    expect(
      indexGraph(renamed)
        .consumers.get('first')!
        .map((n) => n.op),
    ).toEqual(['Conv', 'Add']);
    expect(indexGraph(renamed).consumers.has('a1')).toBe(false);
    expect(renameValue(smallNet().graph, 'logits', 'scores').outputs[0]!.name).toBe('scores');
    expect(() => renameValue(smallNet().graph, 'a1', 'sum')).toThrow(/taken/);
  });

  it('see what the body of an If takes from outside', () => {
    const body = graph({ nodes: [node('Relu', ['outer'], ['inner'])], inputs: [], outputs: [value('inner')] });
    const choice = node('If', ['flag'], ['y'], {
      then_branch: { kind: 'graph', value: body },
      else_branch: { kind: 'graph', value: body },
    });
    const g = graph({
      nodes: [node('Neg', ['x'], ['outer']), choice],
      inputs: [value('x'), value('flag', 'bool', [])],
      outputs: [value('y')],
    });
    expect([...usedBy(choice)].sort()).toEqual(['flag', 'outer']);
    expect(eliminateDead(g).nodes).toHaveLength(2);
    const renamed = renameValue(g, 'outer', 'elsewhere');
    expect([...usedBy(renamed.nodes[1]!)].sort()).toEqual(['elsewhere', 'flag']);
    const read = decodeModel(encodeModel(model(renamed)));
    expect(() => verifyStructure(read)).not.toThrow();
    expect([...usedBy(read.graph.nodes[1]!)].sort()).toEqual(['elsewhere', 'flag']);
  });

  it('append nodes in any order and state the new outputs', () => {
    const next = appendNodes(
      smallNet(),
      [node('Sqrt', ['square'], ['length']), node('Mul', ['logits', 'logits'], ['square'])],
      {
        outputs: ['length', 'logits'],
      },
    );
    expect(next.graph.outputs.map((output) => [output.name, output.shape])).toEqual([
      ['length', ['N', 5]],
      ['logits', ['N', 5]],
    ]);
  });
});
