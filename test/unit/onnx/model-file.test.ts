import { execFileSync } from 'node:child_process';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AppError } from '../../../main/contract/errors.ts';
import { decodeModel, encodeModel, readModelFile, writeModelFile } from '../../../main/onnx/index.ts';
import { WireWriter } from '../../../main/onnx/wire.ts';
import { smallNet } from './example-models.ts';

let folder: string;
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'onnx-file-'))));
afterEach(() => rmSync(folder, { recursive: true, force: true }));
const path = (name: string) => join(folder, name);
const dataFiles = () => readdirSync(folder).filter((name) => name.endsWith('.data'));

const failure = (run: () => unknown): AppError => {
  try {
    run();
  } catch (error) {
    if (error instanceof AppError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
};

/** A model with one weight [4] of float32 that lies at the given place. */
const pointing = (place: Record<string, string>): Uint8Array =>
  new WireWriter()
    .int(1, 8)
    .message(7, (graph) => {
      graph.message(1, (n) => n.text(1, 'w').text(2, 'y').text(4, 'Relu'));
      graph.message(5, (tensor) => {
        tensor.packedInts(1, [4]).int(2, 1).text(8, 'w');
        for (const [key, text] of Object.entries(place))
          tensor.message(13, (entry) => entry.text(1, key).text(2, text));
        tensor.int(14, 1);
      });
      graph.message(12, (output) => output.text(1, 'y'));
    })
    .message(8, (opset) => opset.int(2, 17))
    .finish();

describe('models in files', () => {
  it('come back as written, whole or with weights beside them', () => {
    for (const options of [{}, { externalAbove: 100 }, { externalAbove: 0 }]) {
      writeModelFile(path('m.onnx'), smallNet(), options);
      expect(encodeModel(readModelFile(path('m.onnx')))).toEqual(encodeModel(smallNet()));
    }
  });

  it('keep one data file, whose name changes with its contents, and nothing temporary', () => {
    writeModelFile(path('m.onnx'), smallNet(), { externalAbove: 100 });
    const [first] = dataFiles();
    expect(readdirSync(folder).toSorted()).toEqual(['m.onnx', first].toSorted());
    writeModelFile(path('m.onnx'), smallNet(), { externalAbove: 600 });
    expect(dataFiles()).toHaveLength(1);
    expect(dataFiles()[0]).not.toBe(first);
    writeModelFile(path('m.onnx'), smallNet());
    expect(readdirSync(folder)).toEqual(['m.onnx']);
  });

  it('leave nothing behind where they cannot be written', () => {
    mkdirSync(path('m.onnx'));
    expect(() => writeModelFile(path('m.onnx'), smallNet(), { externalAbove: 100 })).toThrow();
    expect(readdirSync(folder)).toEqual(['m.onnx']);
  });

  it.each<[string, Record<string, string>, RegExp]>([
    ['a missing file', { location: 'gone.data' }, /missing/],
    ['a parent folder', { location: '../w.data' }, /out of the model/],
    ['a parent folder further on', { location: 'sub/../../w.data' }, /out of the model/],
    ['an absolute name', { location: '/etc/passwd' }, /not a name relative/],
    ['a drive', { location: 'C:\\w.data' }, /not a name relative/],
    ['no name', {}, /not a name relative/],
    ['a link that leads out', { location: 'link' }, /out of the model/],
    ['a linked folder that leads out', { location: 'out/passwd' }, /out of the model/],
    ['a folder', { location: 'sub' }, /not a file|EISDIR/],
    ['a pipe', { location: 'pipe' }, /not a file/],
    ["a length that is not the tensor's", { location: 'w.data', length: '12' }, /needs 16 bytes, 12 are stated/],
    ['an offset beyond the end', { location: 'w.data', offset: '60' }, /needs bytes 60 to 76/],
  ])('refuse %s', (_name, place, problem) => {
    writeFileSync(path('w.data'), Buffer.alloc(64));
    mkdirSync(path('sub'));
    symlinkSync('/etc/passwd', path('link'));
    symlinkSync('/etc', path('out'));
    execFileSync('mkfifo', [path('pipe')]);
    writeFileSync(path('m.onnx'), pointing(place));
    const error = failure(() => readModelFile(path('m.onnx')));
    expect(error.code).toBe('MODEL_DATA_MISSING');
    expect(error.message).toMatch(problem);
  });

  it.each(['-1', '1e3', '99999999999999999999', 'x'])('refuse the offset "%s"', (offset) => {
    writeFileSync(path('w.data'), Buffer.alloc(64));
    writeFileSync(path('m.onnx'), pointing({ location: 'w.data', offset }));
    expect(failure(() => readModelFile(path('m.onnx'))).code).toBe('MODEL_UNREADABLE');
  });

  it('read the part that is meant', () => {
    writeFileSync(path('w.data'), Buffer.from(Float32Array.of(0, 1, 2, 3, 4, 5).buffer));
    writeFileSync(path('m.onnx'), pointing({ location: './w.data', offset: '4', length: '16' }));
    const { bytes } = readModelFile(path('m.onnx')).graph.initializers.get('w')!;
    expect([...new Float32Array(bytes.buffer, bytes.byteOffset, 4)]).toEqual([1, 2, 3, 4]);
    // Bytes alone do not say where the other file is.
    expect(failure(() => decodeModel(pointing({ location: 'w.data' }))).code).toBe('MODEL_UNREADABLE');
  });

  it('refuse what is not there, and more than the format allows, without reading it', () => {
    expect(failure(() => readModelFile(path('none.onnx'))).code).toBe('NOT_FOUND');
    expect(failure(() => readModelFile(folder)).code).toBe('MODEL_UNREADABLE');
    writeFileSync(path('huge.onnx'), '');
    truncateSync(path('huge.onnx'), 2 ** 31);
    expect(failure(() => readModelFile(path('huge.onnx'))).message).toMatch(/at most/);
  });

  it.each([undefined, 1024])(
    'take 320 MB of weights without a second copy (externalAbove %s)',
    (externalAbove) => {
      const script = `
      import * as onnx from ${JSON.stringify(new URL('../../../main/onnx/index.ts', import.meta.url).href)};
      const count = 20 * 2 ** 20;
      const initializers = Object.fromEntries([0, 1, 2, 3].map((i) => ['w' + i, onnx.float32Tensor([count], new Float32Array(count).fill(i + 1))]));
      const nodes = [onnx.node('Concat', Object.keys(initializers), ['y'], { axis: 0 })];
      const model = onnx.model(onnx.graph({ nodes, inputs: [], outputs: [onnx.value('y')], initializers }));
      const before = process.resourceUsage().maxRSS;
      onnx.writeModelFile('big.onnx', model${externalAbove ? `, { externalAbove: ${externalAbove} }` : ''});
      const written = process.resourceUsage().maxRSS;
      const read = onnx.readModelFile('big.onnx');
      const last = read.graph.initializers.get('w3').bytes;
      console.log(JSON.stringify({ writing: (written - before) / 1024, reading: (process.resourceUsage().maxRSS - written) / 1024, last: last[last.length - 1], size: last.length }));`;
      const printed = execFileSync(process.execPath, ['--input-type=module', '-e', script], {
        cwd: folder,
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'ignore'],
      });
      const { writing, reading, last, size } = JSON.parse(printed) as Record<string, number>;
      expect([last, size]).toEqual([0x40, 80 * 2 ** 20]);
      expect(writing).toBeLessThan(40);
      expect(reading).toBeLessThan(360);
      expect(statSync(path('big.onnx')).size > 2 ** 20).toBe(externalAbove === undefined);
    },
    60_000,
  );
});
