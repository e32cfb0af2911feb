import { encodeModel, graph, model, node, value } from '../../../onnx/index.ts';
import { openSession } from '../../../runtime/session.ts';
import { BLOCKED_DOMAIN } from './writer.ts';

const CHANNELS = 64;
let known: Promise<number | null> | undefined;

/**
 * Vector width of this machine's convolution kernels, asked of ORT itself: 64 channels of two pixels are put into the blocked layout, and
 * the first channel that follows the second pixel tells. null: this ORT has no such layout.
 */
export function blockSize(): Promise<number | null> {
  known ??= probe();
  return known;
}

async function probe(): Promise<number | null> {
  const shape = [1, CHANNELS, 1, 2];
  const made = model(
    graph({
      nodes: [node('ReorderInput', ['x'], ['y'], {}, { domain: BLOCKED_DOMAIN })],
      inputs: [value('x', 'float32', shape)],
      outputs: [value('y', 'float32', shape)],
    }),
  );
  const bytes = encodeModel({ ...made, opsets: new Map([...made.opsets, [BLOCKED_DOMAIN, 1]]) });
  try {
    await using session = await openSession(bytes, { threads: 1, name: 'layout probe' });
    // Pixel p of channel c has the value 2 c + p.
    const data = Float32Array.from({ length: 2 * CHANNELS }, (_, i) => i);
    const { y } = await session.run({ x: { type: 'float32', dims: shape, data } });
    const second = (y!.data as Float32Array).indexOf(1);
    const block = second;
    const fits =
      [4, 8, 16].includes(block) &&
      Array.from({ length: block }, (_, lane) => y!.data[lane]).every((v, lane) => v === 2 * lane);
    return fits ? block : null;
  } catch {
    // An ORT without the domain refuses the model: the standard form runs anywhere.
    return null;
  }
}
