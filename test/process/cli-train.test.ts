import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { decodeModel } from '../../main/onnx/index.ts';
import { cli } from '../helpers/cli.ts';
import { writeTinyBackbone } from '../numeric/learning/tiny-backbone.ts';
import { writePictures } from '../unit/training/pictures.ts';

interface TrainJson {
  epochs: { loss: number; accuracy: number; balancedAccuracy: number }[];
  classes: string[];
  engine: string;
  threads: number;
  size: number;
}

let folder: string;
let set: string;
let backbone: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mekiki-cli-train-'));
  set = join(folder, 'set');
  backbone = join(folder, 'tiny.onnx');
  await writeTinyBackbone(backbone);
  await writeFile(`${backbone}.json`, '{"mean": [0.4, 0.5, 0.6], "std": 0.2}');
  await writePictures(join(set, 'train'), 12, 4);
  await writePictures(join(set, 'test'), 6, 4);
});
afterAll(() => rm(folder, { recursive: true }));

const train = (...more: string[]) => cli(['train', set, '--backbone', backbone, '--size', '64', '--json', ...more]);

test('train: one document with an entry per epoch, the first classes in name order, and a model file', async () => {
  const out = join(folder, 'out.onnx');
  const result = await train('--epochs', '2', '--classes', '3', '--batch', '8', '--seed', '5', '--out', out);
  expect(result.code, result.stderr).toBe(0);
  const json = result.json() as TrainJson;
  expect(json.epochs).toHaveLength(2);
  for (const epoch of json.epochs) {
    expect(epoch.loss).toBeGreaterThan(0);
    for (const share of [epoch.accuracy, epoch.balancedAccuracy]) {
      expect(share).toBeGreaterThanOrEqual(0);
      expect(share).toBeLessThanOrEqual(1);
    }
  }
  expect(json).toMatchObject({ classes: ['c0', 'c1', 'c2'], engine: 'ort', threads: 2, size: 64 });
  expect(result.stderr).toMatch(/epoch 2: loss/);
  expect(json).toMatchObject({ normalisation: { mean: [102, 127.5, 153], std: [51, 51, 51], from: 'file' } });
  expect(result.stderr).not.toContain('is assumed');
  const model = decodeModel(await readFile(out));
  expect(model.graph.outputs[0]!.shape).toEqual(['N', 3]);
  const again = (await train('--epochs', '2', '--classes', '3', '--batch', '8', '--seed', '5')).json() as TrainJson;
  expect(again.epochs.map(({ loss }) => loss)).toEqual(json.epochs.map(({ loss }) => loss));
});

test('train: both engines start alike', async () => {
  const first = async (engine: string) => {
    const result = await train('--epochs', '1', '--batch', '8', '--engine', engine);
    expect(result.code, result.stderr).toBe(0);
    return result.json() as TrainJson;
  };
  const [ort, tfjs] = [await first('ort'), await first('tfjs')];
  expect(tfjs.engine).toBe('tfjs');
  expect(tfjs.epochs[0]!.loss).toBeCloseTo(ort.epochs[0]!.loss, 3);
});

test('train: what is wrong is named', async () => {
  expect((await train()).code).toBe(2);
  const missing = await cli(['train', join(folder, 'nowhere'), '--backbone', backbone, '--epochs', '1', '--json']);
  expect(missing.code).toBe(1);
  expect(missing.json()).toMatchObject({ error: { code: 'DATASET_NOT_FOUND' } });
  // Before the first epoch: its work would be lost.
  for (const out of [folder, join(backbone, 'out.onnx')]) {
    const nowhere = await train('--epochs', '1', '--batch', '8', '--out', out);
    expect(nowhere.code).toBe(1);
    expect(nowhere.json()).toMatchObject({ error: { code: 'INVALID_INPUT', details: { what: '--out' } } });
    expect(nowhere.stderr).not.toContain('epoch 1');
  }
});

test('train: Ctrl-C ends it with 130 between two steps, and the checkpoint goes on', async () => {
  const checkpoint = join(await mkdtemp(join(folder, 'ends-')), 'checkpoint');
  const args = [
    'train',
    set,
    '--backbone',
    backbone,
    '--size',
    '64',
    '--batch',
    '8',
    '--checkpoint',
    checkpoint,
    '--json',
  ];
  const entry = fileURLToPath(new URL('../../main/host/cli/main.ts', import.meta.url));
  const child = spawn(process.execPath, [entry, ...args, '--epochs', '3000'], { stdio: ['ignore', 'pipe', 'pipe'] });
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk.toString();
    if (/epoch 2: loss/.test(stderr) && !child.killed) child.kill('SIGINT');
  });
  const code = await new Promise((resolve) => child.on('close', resolve));
  expect(code, stderr).toBe(130);
  expect(JSON.parse(stdout)).toMatchObject({ error: { code: 'CANCELLED' } });
  const other = await cli([...args, '--epochs', '2']);
  expect(other.json()).toMatchObject({ error: { code: 'CHECKPOINT_OTHER_RUN' } });
});

const { MEKIKI_DATA, MEKIKI_MODELS } = process.env;
describe.skipIf(!MEKIKI_DATA || !MEKIKI_MODELS)('with MEKIKI_DATA and MEKIKI_MODELS', () => {
  test('fine-tuning MobileNetV2-0.35 on three classes of neu_steel reaches .99', async () => {
    const model = join(MEKIKI_MODELS!, 'mobilenet_v2_0.35_224.onnx');
    const args = ['train', join(MEKIKI_DATA!, 'neu_steel'), '--backbone', model, '--classes', '3'];
    const result = await cli([...args, '--epochs', '2', '--size', '96', '--json']);
    expect(result.code, result.stderr).toBe(0);
    const json = result.json() as TrainJson;
    expect(json.classes).toEqual(['crazing', 'inclusion', 'patches']);
    expect(json.epochs.at(-1)!.accuracy).toBeGreaterThanOrEqual(0.99);
  });
});
