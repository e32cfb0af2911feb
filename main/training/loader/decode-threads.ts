import { Worker } from 'node:worker_threads';
import { threadUrl } from '../../capture/thread-url.ts';
import { AppError, assert, type ErrorCode } from '../../contract/errors.ts';
import type { DecodeThreadData, FromDecodeThread, ToDecodeThread } from './messages.ts';

export interface DecodedSample {
  /** 3 * size * size. */
  planes: Float32Array;
  /** Share of the image itself where it is mixed; 1: not mixed. */
  mixup: number;
}

export interface DecodeThreads extends AsyncDisposable {
  /** @throws IMAGE_UNREADABLE, IMAGE_TOO_LARGE, IMAGE_ANIMATED */
  load(image: number, epoch: number, position: number): Promise<DecodedSample>;
}

interface Waiting {
  resolve(sample: DecodedSample): void;
  reject(error: unknown): void;
}

/** Starts so many threads; they end when disposed, after the pictures under way. */
export function startDecodeThreads(data: DecodeThreadData, count: number): DecodeThreads {
  const waiting = new Map<number, Waiting>();
  let next = 0;
  let failure: unknown = null;
  let closing = false;
  const fail = (error: unknown) => {
    failure ??= error;
    for (const { reject } of waiting.values()) reject(error);
    waiting.clear();
  };
  const workers = Array.from({ length: count }, (_, i) => {
    const worker = new Worker(threadUrl('./decode-thread', import.meta.url), {
      workerData: { ...data, cacheBytes: data.cacheBytes / count } satisfies DecodeThreadData,
      name: `decode ${i + 1}`,
    });
    const exited = new Promise<void>((resolve) => {
      worker.on('exit', (code) => {
        if (!closing) fail(new Error(`a decoding thread ended (${code})`));
        resolve();
      });
    });
    worker.on('error', fail);
    worker.on('messageerror', fail);
    worker.on('message', (message: FromDecodeThread) => {
      const asked = waiting.get(message.job);
      if (!asked) return;
      waiting.delete(message.job);
      if ('code' in message) asked.reject(new AppError<ErrorCode>(message.code, message.details));
      else asked.resolve(message);
    });
    return { worker, exited, send: (message: ToDecodeThread) => worker.postMessage(message) };
  });
  return {
    load(image, epoch, position) {
      assert(!closing, 'threads are not used after they were disposed');
      if (failure !== null) return Promise.reject(failure);
      const job = next;
      next += 1;
      return new Promise((resolve, reject) => {
        waiting.set(job, { resolve, reject });
        // An image always goes to the same thread, which may have kept it.
        workers[image % count]!.send({ job, image, epoch, position });
      });
    },
    async [Symbol.asyncDispose]() {
      closing = true;
      for (const { send } of workers) send(null);
      await Promise.all(workers.map(({ exited }) => exited));
      fail(new AppError('CANCELLED'));
    },
  };
}
