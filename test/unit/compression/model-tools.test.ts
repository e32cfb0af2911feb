import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { distillFile } from '../../../main/compression/distill-file.ts';
import { pruneFile, quantizeFile } from '../../../main/compression/model-tools.ts';
import {
  decodeModel,
  encodeModel,
  float32Of,
  float32Tensor,
  graph,
  model,
  node,
  selectOutputs,
  setInitializer,
  setInputSize,
  value,
  withGraph,
  type Model,
} from '../../../main/onnx/index.ts';
import { openSession } from '../../../main/runtime/session.ts';
import { cli } from '../../helpers/cli.ts';
import { halfInside } from '../../helpers/half-precision.ts';
import {
  indirectBackbone,
  olderBackbone,
  paddedBackbone,
  singleBackbone,
  sizedClassifier,
  uncuttableClassifier,
} from './networks.ts';
import { smallBackboneFile, texture } from './small-data.ts';

let folder: string;
let file: string;
let pictures: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mekiki-tools-'));
  ({ file } = await smallBackboneFile(folder));
  pictures = join(folder, 'pictures');
  await mkdir(join(pictures, 'more'), { recursive: true });
  for (let i = 0; i < 24; i++) {
    await writeFile(join(pictures, i % 2 ? 'more' : '.', `${i}.png`), await texture(i % 3, i));
  }
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const options = (out: string) => ({ file, out: join(folder, out), calibrate: pictures, size: 64, threads: 1, seed: 0 });
const outputs = async (path: string) => {
  await using session = await openSession(await readFile(path), { threads: 1 });
  return session.outputs;
};

describe('tools on plain ONNX files', () => {
  it('prune: fewer multiply-accumulates as asked, the same outputs, what was left alone by name', async () => {
    const report = await pruneFile({ ...options('pruned.onnx'), ratio: 0.3 });
    expect(report.threads).toBe(1);
    expect(report.ratio).toBeGreaterThan(0.25);
    expect(1 - report.after.macs! / report.before.macs!).toBeCloseTo(report.ratio, 1);
    expect(report.widths.every(({ before, after }) => after < before && after % 8 === 0)).toBe(true);
    expect(report.untouched.length).toBeGreaterThan(0);
    expect(report.outputError).toBeGreaterThan(0);
    expect(await outputs(report.out)).toEqual(await outputs(file));
    expect((await readFile(report.out)).length).toBe(report.after.bytes);
  });

  it('what is made says how its pixels are scaled where the original does, and nothing where that is assumed', async () => {
    const stated = join(folder, 'stated.onnx');
    await copyFile(file, stated);
    await writeFile(`${stated}.json`, '{"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}');
    const pruned = await pruneFile({ ...options('stated-pruned.onnx'), file: stated, ratio: 0.3 });
    const quantized = await quantizeFile({ ...options('stated-int8.onnx'), file: pruned.out });
    expect(quantized.normalisation).toEqual(pruned.normalisation);
    expect(quantized.normalisation).toMatchObject({ from: 'file', mean: [123.675, 116.28, 103.53] });
    const assumed = await pruneFile({ ...options('assumed.onnx'), ratio: 0.3 });
    expect(existsSync(`${assumed.out}.json`)).toBe(false);
    // The one of before would be read as that of the new one.
    const refusal = (problem: string) => ({
      code: 'INVALID_INPUT',
      details: { what: '--out', problem: expect.stringContaining(problem) as unknown },
    });
    const over = { ...options('stated-pruned.onnx'), calibrate: null, ratio: 0.3 };
    const before = await readFile(pruned.out);
    await expect(pruneFile(over)).rejects.toMatchObject(refusal('only assumed'));
    expect(await readFile(pruned.out)).toEqual(before);
    // Nothing can say it there.
    await mkdir(join(folder, 'unsaid.onnx.json'));
    const unsaid = { ...over, ...options('unsaid.onnx'), file: stated, calibrate: null };
    await expect(pruneFile(unsaid)).rejects.toMatchObject(refusal('is a folder'));
    expect((await readdir(folder)).filter((name) => name.startsWith('unsaid') || name.endsWith('.tmp'))).toEqual([
      'unsaid.onnx.json',
    ]);
  });

  it('prune without pictures: by weight norms alone, nothing is fitted, and it says so', async () => {
    const report = await pruneFile({ ...options('bare.onnx'), calibrate: null, ratio: 0.5 });
    expect(report).toMatchObject({ importance: ['l2'], fitted: false, outputError: null, calibrationImages: 0 });
    expect(1 - report.after.macs! / report.before.macs!).toBeCloseTo(report.ratio, 1);
    expect(report.ratio).toBeGreaterThan(0.25);
    expect(report.speedup).toBeGreaterThan(0);
    expect(await outputs(report.out)).toEqual(await outputs(file));
    // The strongest channels stayed, with the biases that they had.
    const constant = (path: string, name: string) =>
      float32Of(decodeModel(new Uint8Array(readFileSync(path)), path).graph.initializers.get(name)!);
    const [weights, biases, left] = [
      constant(file, 'fused_w'),
      constant(file, 'fused_b'),
      constant(report.out, 'fused_b'),
    ];
    const row = weights.length / biases.length;
    const norms = Array.from(biases, (_, c) => Math.hypot(...weights.subarray(c * row, (c + 1) * row)));
    const weakestKept = norms.toSorted((a, b) => b - a)[left.length - 1]!;
    expect(left.length).toBeLessThan(biases.length);
    expect([...left]).toEqual([...biases].filter((_, c) => norms[c]! >= weakestKept));
    const fitted = await pruneFile({ ...options('fitted.onnx'), ratio: 0.3 });
    expect(fitted).toMatchObject({ importance: ['reconstruction'], fitted: true });
  });

  it('pictures: links to them are taken, a link to the folder itself is not gone into', async () => {
    const linked = join(folder, 'linked');
    await mkdir(linked);
    for (const name of (await readdir(pictures)).filter((each) => each.endsWith('.png')))
      await symlink(join(pictures, name), join(linked, name));
    await symlink(linked, join(linked, 'again'));
    await symlink(join(folder, 'gone.png'), join(linked, 'gone.png'));
    const report = await pruneFile({ ...options('of-links.onnx'), calibrate: linked, ratio: 0.3 });
    // Twelve pictures, every fourth kept apart.
    expect(report.calibrationImages).toBe(9);
  });

  it('prune: says so where far less went than was asked, and what stood in the way', async () => {
    const uncuttable = join(folder, 'uncuttable.onnx');
    await writeFile(uncuttable, encodeModel(uncuttableClassifier()));
    const warned: string[] = [];
    const asked = { ratio: 0.4, calibrate: null, onWarning: (line: string) => warned.push(line) };
    const report = await pruneFile({ ...options('cut.onnx'), ...asked, file: uncuttable });
    expect(report.ratio).toBeLessThan(0.01);
    expect(report.problem).toMatch(/Asked for 40.0 % .* reached 0.\d %.*wide: it is the output map/);
    expect(warned).toEqual([report.problem]);
    const enough = await pruneFile({ ...options('enough.onnx'), ...asked, ratio: 0.3 });
    expect(enough).toMatchObject({ asked: 0.3, problem: null });
    expect(warned.length).toBe(1);
  });

  it('quantize: integers inside, nearly the same outputs', async () => {
    const report = await quantizeFile(options('int8.onnx'));
    expect(report.outputError).toBeLessThan(0.05);
    expect(report.integers).toBeGreaterThan(0);
    const made = decodeModel(new Uint8Array(await readFile(report.out)), 'int8');
    expect(made.graph.nodes.some(({ op }) => op === 'QuantizeLinear')).toBe(true);
  });

  it('distill: a spoilt copy comes nearer to the model that teaches it', async () => {
    const whole = decodeModel(new Uint8Array(await readFile(file)), file);
    let spoilt = whole.graph;
    for (const [name, weight] of whole.graph.initializers) {
      if (weight.dims.length < 2) continue;
      const changed = float32Of(weight).map((w, i) => w * (1 + 0.6 * Math.sin(12.9898 * i)));
      spoilt = setInitializer(spoilt, name, float32Tensor(weight.dims, changed));
    }
    const student = join(folder, 'spoilt.onnx');
    await writeFile(student, encodeModel({ ...whole, graph: spoilt }));
    const taught = (epochs: number) =>
      distillFile({ ...options(`taught-${epochs}.onnx`), file: student, teacher: file, epochs });
    const [little, much] = [await taught(1), await taught(40)];
    expect(much.outputError).toBeLessThan(0.5 * little.outputError!);
    expect(much.before.macs).toBe(much.after.macs);
    expect(much).toMatchObject({ taught: true, untaughtError: little.untaughtError });
    expect(much.outputError).toBeLessThan(much.untaughtError!);
  });

  it('distill: a student that teaching only takes away from its teacher is written as it was, and told so', async () => {
    const warnings: string[] = [];
    // The teacher itself: nothing can come nearer.
    const tried = {
      ...options('same.onnx'),
      teacher: file,
      epochs: 1,
      onWarning: (line: string) => warnings.push(line),
    };
    const report = await distillFile(tried);
    expect(report).toMatchObject({ taught: false, untaughtError: 0, outputError: 0 });
    expect(warnings.join()).toContain('no nearer to its teacher');
  });

  it('distill without a teacher: the file teaches a pruned copy of itself', async () => {
    const report = await distillFile({ ...options('copy.onnx'), teacher: null, ratio: 0.5, epochs: 20 });
    const pruned = await pruneFile({ ...options('half.onnx'), ratio: 0.5 });
    expect(report.student).toBeNull();
    expect([report.before.macs, report.after.macs]).toEqual([pruned.before.macs, pruned.after.macs]);
    expect(report.outputError).toBeLessThan(0.05);
    // It was taught, not only pruned.
    expect(Buffer.compare(await readFile(report.out), await readFile(pruned.out))).not.toBe(0);
    expect(await outputs(report.out)).toEqual(await outputs(file));
  }, 120_000);

  it('distill: a family by its name is built with the outputs of the teacher', async () => {
    const taught = (name: string, epochs: number) =>
      distillFile({ ...options(name), file: 'small', teacher: file, epochs });
    const [little, much] = [await taught('family-1.onnx', 1), await taught('family-30.onnx', 30)];
    expect(much.student).toBe('small');
    expect(much.outputError).toBeLessThan(little.outputError!);
    expect(await outputs(much.out)).toEqual(await outputs(file));
    const made = decodeModel(new Uint8Array(await readFile(much.out)), 'student');
    expect(made.graph.initializers.get('project.0.weight')!.dims[0]).toBe(24);
  }, 120_000);

  it('says what is wrong, and writes nothing', async () => {
    const few = join(folder, 'few');
    await mkdir(few);
    await writeFile(join(few, '1.png'), await texture(0, 1));
    await expect(quantizeFile({ ...options('none.onnx'), calibrate: few })).rejects.toMatchObject({
      code: 'TOO_FEW_IMAGES',
      details: { found: 1, needed: 8, missing: 7 },
    });
    await expect(
      pruneFile({ ...options('none.onnx'), calibrate: join(folder, 'gone'), ratio: 0.3 }),
    ).rejects.toMatchObject({
      code: 'NOT_FOUND',
    });
    const flat = join(folder, 'flat.onnx');
    await writeFile(
      flat,
      encodeModel(
        model(
          graph({
            nodes: [node('GlobalAveragePool', ['x'], ['y'])],
            inputs: [value('x', 'float32', ['N', 3, 'H', 'W'])],
            outputs: [value('y', 'float32', ['N', 3, 1, 1])],
          }),
        ),
      ),
    );
    await expect(pruneFile({ ...options('none.onnx'), file: flat, ratio: 0.3 })).rejects.toMatchObject({
      code: 'UNSUPPORTED_OP',
    });
    const old = join(folder, 'old.onnx');
    await writeFile(old, encodeModel(olderBackbone()));
    await expect(quantizeFile({ ...options('none.onnx'), file: old })).rejects.toMatchObject({
      code: 'UNSUPPORTED_OP',
      details: { op: 'Conv', opset: 12, node: 'stem', problem: expect.stringContaining('opset 13') },
    });
    await expect(distillFile({ ...options('none.onnx'), teacher: flat, epochs: 1 })).rejects.toMatchObject({
      code: 'MODEL_UNSUITABLE',
    });
    const narrow = join(folder, 'narrow.onnx');
    const shade = [node('GlobalAveragePool', ['image'], ['mean']), node('Flatten', ['mean'], ['features'])];
    const inputs = [value('image', 'float32', ['N', 3, 'H', 'W'])];
    await writeFile(narrow, encodeModel(model(graph({ nodes: shade, inputs, outputs: [value('features')] }))));
    await expect(distillFile({ ...options('none.onnx'), teacher: narrow, epochs: 1 })).rejects.toMatchObject({
      code: 'MODEL_UNSUITABLE',
      details: { file: narrow, problem: `its output "features" is [N, 3], the student's is [N, 24]` },
    });
    const four = join(folder, 'four.onnx');
    const whole = decodeModel(new Uint8Array(await readFile(file)), file);
    await writeFile(four, encodeModel(setInputSize(whole, { batch: 4, height: 64, width: 64 })));
    const refused = { code: 'MODEL_UNSUITABLE', details: { problem: expect.stringContaining('4 pictures') } };
    await expect(pruneFile({ ...options('none.onnx'), file: four, ratio: 0.3 })).rejects.toMatchObject(refused);
    await expect(quantizeFile({ ...options('none.onnx'), file: four })).rejects.toMatchObject(refused);
    const ofBytes = whole.graph.inputs.map((input) => ({ ...input, type: 'uint8' as const }));
    for (const [type, odd] of [
      ['float16', halfInside(whole)],
      ['uint8', withGraph(whole, { ...whole.graph, inputs: ofBytes })],
    ] as const) {
      const refusal = { code: 'MODEL_UNSUITABLE', details: { problem: expect.stringContaining(type) } };
      const given = join(folder, `${type}.onnx`);
      await writeFile(given, encodeModel(odd));
      // Before a picture is looked for: there are none.
      const tried = { ...options('none.onnx'), file: given, calibrate: join(folder, 'gone') };
      await expect(quantizeFile(tried)).rejects.toMatchObject(refusal);
      await expect(pruneFile({ ...tried, ratio: 0.3 })).rejects.toMatchObject(refusal);
      await expect(distillFile({ ...tried, teacher: null, epochs: 1 })).rejects.toMatchObject(refusal);
      await expect(distillFile({ ...tried, file, teacher: given, epochs: 1 })).rejects.toMatchObject(refusal);
    }
    const pipe = join(folder, 'pipe');
    if (process.platform !== 'win32') execFileSync('mkfifo', [pipe]);
    for (const [out, told] of [
      ...(existsSync(pipe) ? ([[pipe, 'is no file']] as const) : []),
      [join(folder, 'gone', 'none.onnx'), 'ENOENT'],
      [join(file, 'none.onnx'), 'ENOTDIR'],
      [folder, 'is a folder'],
    ] as const) {
      const refusal = { code: 'INVALID_INPUT', details: { what: '--out', problem: expect.stringContaining(told) } };
      const tried = { ...options('none.onnx'), calibrate: join(folder, 'gone'), out };
      await expect(quantizeFile(tried)).rejects.toMatchObject(refusal);
      await expect(pruneFile({ ...tried, calibrate: null, ratio: 0.3 })).rejects.toMatchObject(refusal);
      await expect(distillFile({ ...tried, teacher: null, epochs: 1 })).rejects.toMatchObject(refusal);
    }
    await expect(readFile(join(folder, 'none.onnx'))).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('quantize: weights behind an Identity, a Cast or a Constant too; what stays float is named with the reason', async () => {
    const indirect = join(folder, 'indirect.onnx');
    await writeFile(indirect, encodeModel(indirectBackbone()));
    const [plain, report] = [
      await quantizeFile(options('plain-int8.onnx')),
      await quantizeFile({ ...options('indirect-int8.onnx'), file: indirect }),
    ];
    expect(plain.keptFloat).toEqual([]);
    expect(report.keptFloat).toEqual([{ node: 'out', why: 'its weight is computed at run time' }]);
    expect(report.integers).toBe(plain.integers - 1);
  });

  it('refuses before a picture is looked for what would fail behind them all', async () => {
    const write = async (name: string, of: Model) => {
      await writeFile(join(folder, name), encodeModel(of));
      return join(folder, name);
    };
    const gone = { ...options('none.onnx'), calibrate: join(folder, 'gone') };
    const refusal = (problem: string) => ({
      code: 'MODEL_UNSUITABLE',
      details: { problem: expect.stringContaining(problem) },
    });
    // One picture in each run: nothing can be taught with it, by it neither.
    const single = await write('single.onnx', singleBackbone());
    const one = refusal('it takes 1 picture in each run; export it with an open batch');
    await expect(distillFile({ ...gone, file: single, teacher: null, epochs: 1 })).rejects.toMatchObject(one);
    await expect(distillFile({ ...gone, teacher: single, epochs: 1 })).rejects.toMatchObject(one);
    expect((await quantizeFile({ ...options('single-int8.onnx'), file: single })).integers).toBeGreaterThan(0);
    // An output that is no float can be compared with nothing.
    const whole = await write('index.onnx', sizedClassifier());
    const index = refusal('its output "best" is int64');
    await expect(quantizeFile({ ...gone, file: whole })).rejects.toMatchObject(index);
    await expect(pruneFile({ ...gone, file: whole, ratio: 0.3 })).rejects.toMatchObject(index);
    await expect(distillFile({ ...gone, file: whole, teacher: null, epochs: 1 })).rejects.toMatchObject(index);
    await expect(distillFile({ ...gone, teacher: whole, epochs: 1 })).rejects.toMatchObject(index);
    // An operator of someone's own.
    const { graph: own, ...rest } = singleBackbone();
    const nodes = own.nodes.map((each) => (each.op === 'HardSwish' ? { ...each, op: 'Swish', domain: 'mine' } : each));
    const custom = await write('custom.onnx', {
      ...rest,
      opsets: new Map([...rest.opsets, ['mine', 1]]),
      graph: { ...own, nodes },
    });
    const unknown = {
      code: 'MODEL_UNSUITABLE',
      details: { file: custom, problem: expect.stringContaining('mine.Swish') },
    };
    await expect(quantizeFile({ ...gone, file: custom })).rejects.toMatchObject(unknown);
    await expect(pruneFile({ ...gone, file: custom, calibrate: null, ratio: 0.3 })).rejects.toMatchObject(unknown);
    // Another size than the one that its last layer reads.
    const logits = await write('logits.onnx', selectOutputs(sizedClassifier(), ['logits']));
    const fixed = refusal('its input is fixed at 64 pixels');
    await expect(pruneFile({ ...gone, file: logits, size: 96, ratio: 0.3 })).rejects.toMatchObject(fixed);
  });

  it('a model with a shape that cannot be told: no multiply-accumulates, and no file where it fails', async () => {
    const hidden = join(folder, 'hidden.onnx');
    await writeFile(hidden, encodeModel(paddedBackbone()));
    const report = await quantizeFile({ ...options('hidden-int8.onnx'), file: hidden });
    expect(report).toMatchObject({ before: { macs: null }, after: { macs: null } });
    expect(report.integers).toBeGreaterThan(0);
    await expect(pruneFile({ ...options('none.onnx'), file: hidden, ratio: 0.3 })).rejects.toMatchObject({
      code: 'GRAPH_INVALID',
      details: { where: expect.stringContaining(` of ${hidden}`) as unknown },
    });
    // The one of two.
    const cyclic = join(folder, 'cyclic.onnx');
    const loop = [node('Add', ['x', 'b'], ['a']), node('Relu', ['a'], ['b'])];
    const [inputs, ends] = [[value('x', 'float32', ['N', 3, 'H', 'W'])], [value('b', 'float32', ['N', 3, 'H', 'W'])]];
    await writeFile(cyclic, encodeModel(model(graph({ nodes: loop, inputs, outputs: ends }))));
    await expect(distillFile({ ...options('none.onnx'), teacher: cyclic, epochs: 1 })).rejects.toMatchObject({
      code: 'GRAPH_INVALID',
      details: { where: expect.stringContaining(` of ${cyclic}`) as unknown },
    });
    await expect(readFile(join(folder, 'none.onnx'))).rejects.toMatchObject({ code: 'ENOENT' });
    const { stdout, code } = await cli(
      ['quantize', hidden, '--out', join(folder, 'hidden-cli.onnx'), '--calibrate', pictures, '--size', '64'],
      {},
    );
    expect(code).toBe(0);
    expect(stdout).toMatch(/before +\?/);
  }, 60_000);

  it('from the command line', async () => {
    const out = join(folder, 'by-cli.onnx');
    const { code, stderr, json } = await cli(
      ['prune', file, '--out', out, '--calibrate', pictures, '--size', '64', '--ratio', '0.3', '--json'],
      {},
    );
    expect(code, stderr).toBe(0);
    expect(json()).toMatchObject({ out, inputSize: 64, ratio: expect.any(Number), speedup: expect.any(Number) });
    expect(json()).toMatchObject({ normalisation: { mean: [127.5, 127.5, 127.5], from: 'assumed' } });
    expect(stderr).toContain(`No file beside ${file} states how its pixels are scaled`);
    expect((await cli(['quantize', file, '--json'], {})).code).toBe(2);
    const bare = ['prune', file, '--out', out, '--size', '64'];
    const weights = await cli([...bare, '--json'], {});
    expect(weights.json()).toMatchObject({ importance: ['l2'], fitted: false, outputError: null });
    // No picture was looked at.
    expect(weights.stderr).not.toContain('is assumed');
    expect((await cli(bare, {})).stdout).toContain('Chosen by weights alone (l2), and nothing was fitted');
    for (const [args, told] of [
      [[...bare, '--importance', 'l1,taylor'], '--calibrate'],
      [['distill', 'small', '--out', out, '--calibrate', pictures], '--teacher'],
      [['distill', file, '--out', out, '--calibrate', pictures, '--teacher', file, '--ratio', '0.5'], '--ratio'],
    ] as const) {
      const refused = await cli([...args, '--json'], {});
      expect(refused.code).toBe(2);
      expect(refused.json()).toMatchObject({
        error: { code: 'INVALID_INPUT', message: expect.stringContaining(told) },
      });
    }
  }, 120_000);
});
