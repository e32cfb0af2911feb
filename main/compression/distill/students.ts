import { AppError } from '../../contract/errors.ts';
import {
  addNodes,
  analyseBackbone,
  buildNetwork,
  eliminateDead,
  float32Of,
  float32Tensor,
  freshName,
  inferShapes,
  mapNodes,
  node,
  normalNumbers,
  randomSource,
  renameValue,
  setInitializers,
  setInputSize,
  setOutputs,
  value,
  valueNames,
  verifyStructure,
  withGraph,
  type Architecture,
  type ConstTensor,
  type Model,
} from '../../onnx/index.ts';

/** Compact networks that the project builds, by size; multiply-accumulates at 224 px. They start from random weights. */
const studentFamilies = {
  /** 57 M (Howard et al. 2019). */
  small: { architecture: 'mobilenet_v3_small', width: 1 },
  /** 209 M (Sandler et al. 2018). */
  medium: { architecture: 'mobilenet_v2', width: 0.75 },
  /** 385 M (Tan and Le 2019, without squeeze and excite). */
  large: { architecture: 'efficientnet_lite0', width: 1 },
} as const satisfies Record<string, { architecture: Architecture; width: number }>;

export type StudentFamily = keyof typeof studentFamilies;
export const studentNames = Object.keys(studentFamilies) as readonly StudentFamily[];
export const isStudentFamily = (name: string): name is StudentFamily => Object.hasOwn(studentFamilies, name);

/** One output of the teacher that the student has to give. */
export interface TaughtOutput {
  /** [N, channels]. */
  name: string;
  channels: number;
  /** 2 for [N, channels]. */
  rank: number;
  /** Side of the map whose mean it is, at the student's input size; null: it is none. */
  side: number | null;
}

const PROJECTION = 'project';

/**
 * A student of a family with the teacher's outputs: of each map of the teacher that of the student with as many positions (else its last) goes through a linear
 * projector, learnt with the rest, to as many channels as the teacher's (Romero et al. 2015, section 2.2), and is then pooled.
 * @returns with open batch and size; BatchNormalization stays
 * @throws BACKBONE_UNSUITABLE where an input of that size leaves no map
 */
export function buildStudent(
  family: StudentFamily,
  options: { inputName: string; outputs: readonly TaughtOutput[]; inputSize: number; seed: number },
): Model {
  const { inputName, outputs, inputSize, seed } = options;
  const { architecture, width } = studentFamilies[family];
  const network = buildNetwork(architecture, { classes: 1, size: inputSize, width, seed });
  const { mapOutputs, alternatives, problems } = analyseBackbone(network);
  if (mapOutputs.length === 0) {
    throw new AppError('BACKBONE_UNSUITABLE', {
      file: `the student ${family}`,
      problem: problems.join('; ') || `it has no map at ${inputSize} pixels`,
    });
  }
  const infos = inferShapes(network, { inputShapes: { input: [1, 3, inputSize, inputSize] } });
  const sideOf = (name: string) => infos.get(name)!.shape![2] as number;
  // The stages that a backbone would be pooled at come first.
  const maps = [...mapOutputs, ...alternatives.filter(({ kind }) => kind === 'map')];
  // Names that the outputs take must be free; the input is renamed to the teacher's.
  let body = network.graph;
  const renamed = new Map<string, string>();
  const wanted = new Set([inputName, ...outputs.map(({ name }) => name)]);
  for (const name of valueNames(body)) {
    if (!wanted.has(name) || (name === 'input' && inputName === 'input')) continue;
    const to = freshName(new Set([...valueNames(body), ...wanted]), `${family}/${name}`);
    body = renameValue(body, name, to);
    renamed.set(name, to);
  }
  body = renameValue(body, renamed.get('input') ?? 'input', inputName);
  const constants: Record<string, ConstTensor> = {};
  const nodes = outputs.flatMap(({ name, channels, side }, i) => {
    const map = maps.find((each) => sideOf(each.name) === side) ?? mapOutputs.at(-1)!;
    const [weight, bias] = [`${PROJECTION}.${i}.weight`, `${PROJECTION}.${i}.bias`];
    const deviation = 1 / Math.sqrt(map.channels);
    constants[weight] = float32Tensor(
      [channels, map.channels, 1, 1],
      normalNumbers(randomSource(seed, weight), channels * map.channels, deviation),
    );
    constants[bias] = float32Tensor([channels], new Float32Array(channels));
    const [projected, mean] = [`${PROJECTION}.${i}`, `${PROJECTION}.${i}.mean`];
    return [
      node('Conv', [renamed.get(map.name) ?? map.name, weight, bias], [projected], { kernel_shape: [1, 1] }),
      node('GlobalAveragePool', [projected], [mean]),
      node('Flatten', [mean], [name], { axis: 1 }),
    ];
  });
  const graph = eliminateDead(
    setOutputs(
      addNodes(body, nodes, constants),
      outputs.map(({ name, channels }) => value(name, 'float32', ['N', channels])),
    ),
  );
  return setInputSize(withGraph(network, { ...graph, valueInfo: new Map() }), { batch: 'N', height: 'H', width: 'W' });
}

/**
 * The same student with its projectors behind the pooling: the mean of a projected map is the projected mean, at a fraction of the work.
 */
export function poolBeforeProjecting(student: Model): Model {
  const changed = new Map<string, ConstTensor>();
  const isProjector = (op: string, output: string) => op === 'Conv' && /^project\.\d+$/.test(output);
  const projectors = new Map(
    student.graph.nodes.flatMap((each) => (isProjector(each.op, each.outputs[0]!) ? [[each.outputs[0]!, each]] : [])),
  );
  const graph = mapNodes(student.graph, (each) => {
    const [first] = each.inputs;
    if (isProjector(each.op, each.outputs[0]!)) return [];
    const projector = each.op === 'GlobalAveragePool' ? projectors.get(first!) : undefined;
    if (projector) return { ...each, inputs: [projector.inputs[0]!] };
    const behind = each.op === 'Flatten' ? projectors.get(first!.replace(/\.mean$/, '')) : undefined;
    if (!behind || !first!.endsWith('.mean')) return each;
    const [, weight, bias] = behind.inputs as [string, string, string];
    const tensor = student.graph.initializers.get(weight)!;
    changed.set(weight, float32Tensor(tensor.dims.slice(0, 2), float32Of(tensor).slice()));
    const flat = `${first!}.flat`;
    return [
      node('Flatten', [first!], [flat], { axis: 1 }),
      node('Gemm', [flat, weight, bias], [each.outputs[0]!], { transB: 1 }),
    ];
  });
  const next = withGraph(student, setInitializers({ ...graph, valueInfo: new Map() }, changed));
  verifyStructure(next);
  return next;
}
