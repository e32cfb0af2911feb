import { mkdtempSync, rmSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { once } from 'node:events';
import { MessageChannel, Worker } from 'node:worker_threads';
import { createRingMemory, createRingReader, type FrameNotice } from '../capture/ring.ts';
import { threadUrl } from '../capture/thread-url.ts';
import type { LineRecord } from '../contract/line.ts';
import type { ModelCard } from '../contract/domain.ts';
import { assert } from '../contract/errors.ts';
import { decodeModel, modelCost } from '../onnx/index.ts';
import { monotonicMs, openInspector } from './inspector.ts';
import { quantile } from './latency.ts';
import { openSpool } from './spool.ts';

export interface BenchInspectResult {
  /** `session.run` alone, on a tensor that is ready. */
  bareMsP50: number;
  bareMsP99: number;
  /** From the last byte of the frame in the ring to the verdict handed over. */
  pipelineMsP50: number;
  pipelineMsP99: number;
  modelMacs: number;
  pairs: number;
  threads: number;
  rssBytes: number;
}

const WARM_UP = 20;
/** The frame that the definition names: 512 x 512, Mono8. */
const SIDE = 512;

/**
 * What the pipeline adds to the bare model run: notice across threads, preprocessing, inference, decision, claim, the spool's
 * `write`, and the message to the thread of the line output. Bare and pipeline runs alternate in this process, so that both see
 * the same machine; which of the two comes first alternates, too.
 * @throws the signal's reason
 */
export async function benchInspect(
  options: { pairs: number; threads: number; signal?: AbortSignal } & (
    { bundleDir: string } | { model: Uint8Array; card: ModelCard }
  ),
): Promise<BenchInspectResult> {
  const { pairs, signal } = options;
  await using inspector = await openInspector(options);
  const { session, card } = inspector;
  const { inputSize: size } = card;
  const input = session.inputs[0]!;
  const ready = new Float32Array(3 * size * size);
  for (let i = 0; i < ready.length; i += 1) ready[i] = ((i * 37) % 200) / 100 - 1;
  const feeds = { [input]: { type: 'float32' as const, dims: [1, 3, size, size], data: ready } };
  const fetches = ['logits', 'novelty'];

  const memory = createRingMemory();
  const reader = createRingReader(memory);
  const camera = new Worker(threadUrl('./bench-thread', import.meta.url), {
    workerData: { memory, width: SIDE, height: SIDE },
  });
  const { port1: output, port2: outputThread } = new MessageChannel();
  const folder = mkdtempSync(join(tmpdir(), 'mekiki-bench-'));
  const spool = openSpool({ dir: folder, stationId: 'bench', acknowledged: 0 });

  const bare = async (): Promise<number> => {
    const begun = monotonicMs();
    await session.run(feeds, fetches);
    return monotonicMs() - begun;
  };
  const pipeline = async (): Promise<number> => {
    const noticed = once(camera, 'message');
    camera.postMessage(null);
    const [notice] = (await noticed) as [FrameNotice];
    const image = reader.pixels(notice);
    const judgement = await inspector.inspect(image, { arrivedAtMs: notice.arrivedAtMs });
    assert(judgement.unsureReason !== 'error', `the benchmark's part was judged: ${judgement.errorCode ?? ''}`);
    assert(reader.claimDecided(notice.slot), 'the benchmark has no watchdog');
    const record: LineRecord = {
      seq: notice.seq,
      at: new Date(notice.capturedAt).toISOString(),
      imageSha: null,
      width: notice.width,
      height: notice.height,
      judgement,
      notes: notice.notes,
    };
    spool.append(record);
    output.postMessage({ kind: 'verdict', seq: notice.seq, ok: judgement.verdict === 'ok' });
    const took = monotonicMs() - notice.arrivedAtMs;
    // Both readers of the line let go: here one stands for the records thread.
    reader.release(notice.slot);
    reader.release(notice.slot);
    spool.acknowledge(notice.seq);
    return took;
  };

  try {
    await once(camera, 'online');
    for (let i = 0; i < WARM_UP; i += 1) {
      await bare();
      await pipeline();
    }
    const bareMs = new Float64Array(pairs);
    const pipelineMs = new Float64Array(pairs);
    for (let i = 0; i < pairs; i += 1) {
      signal?.throwIfAborted();
      if (i % 2 === 0) {
        bareMs[i] = await bare();
        pipelineMs[i] = await pipeline();
      } else {
        pipelineMs[i] = await pipeline();
        bareMs[i] = await bare();
      }
    }
    return {
      bareMsP50: quantile(bareMs, 0.5),
      bareMsP99: quantile(bareMs, 0.99),
      pipelineMsP50: quantile(pipelineMs, 0.5),
      pipelineMsP99: quantile(pipelineMs, 0.99),
      modelMacs: await macsOf(options, size),
      pairs,
      threads: options.threads,
      rssBytes: process.memoryUsage.rss(),
    };
  } finally {
    await camera.terminate();
    output.close();
    outputThread.close();
    spool.dispose();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function macsOf(source: { bundleDir: string } | { model: Uint8Array }, size: number): Promise<number> {
  const bytes = 'model' in source ? source.model : await readFile(join(source.bundleDir, 'model.onnx'));
  return modelCost(decodeModel(bytes), [1, 3, size, size]).macs;
}
