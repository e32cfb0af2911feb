import { MessageChannel, Worker } from 'node:worker_threads';
import type { CaptureThreadData, FromCapture, ToCapture } from '../../capture/capture-thread.ts';
import type { RingMemory } from '../../capture/ring.ts';
import type { FromLineio, LineioThreadData, ToLineio } from '../../lineio/lineio-thread.ts';
import { threadUrl } from '../../capture/thread-url.ts';
import type { FromRecords, RecordsThreadData, ToRecords } from './records-thread.ts';

export interface LineThreads {
  /** [0] set to 1 after each write to the spool. */
  dirty: Int32Array;
  capture(message: ToCapture): void;
  records(message: ToRecords): void;
  lineio(message: ToLineio): void;
  terminate(): Promise<void>;
}

/** Short-lived objects of a thread, MB: pixels lie outside the heap, and by default each of the three may fill 48. */
const resourceLimits = { maxYoungGenerationSizeMb: 6 };

/** Starts the three threads beside inference. None ever loads the model runtime: one thread per process does. */
export function startThreads(
  memory: RingMemory,
  on: {
    capture: (message: FromCapture) => void;
    records: (message: FromRecords) => void;
    lineio: (message: FromLineio) => void;
    /** A thread ended by an error: a bug. The process ends, and the supervisor starts it anew. */
    failed: (thread: string, error: Error) => void;
  },
): LineThreads {
  const dirty = new Int32Array(new SharedArrayBuffer(4));
  const { port1, port2 } = new MessageChannel();
  const triggers = new MessageChannel();
  const capture = new Worker(threadUrl('../../capture/capture-thread', import.meta.url), {
    workerData: { memory, records: port1, lineio: triggers.port1 } satisfies CaptureThreadData,
    transferList: [port1, triggers.port1],
    name: 'capture',
    resourceLimits,
  });
  const watch = new MessageChannel();
  const lineio = new Worker(threadUrl('../../lineio/lineio-thread', import.meta.url), {
    workerData: { watch: watch.port1, capture: triggers.port2 } satisfies LineioThreadData,
    transferList: [watch.port1, triggers.port2],
    name: 'lineio',
    resourceLimits,
  });
  const records = new Worker(threadUrl('./records-thread', import.meta.url), {
    workerData: { memory, notices: port2, lineio: watch.port2, dirty } satisfies RecordsThreadData,
    transferList: [port2, watch.port2],
    name: 'records',
    resourceLimits,
  });
  capture.on('message', on.capture);
  records.on('message', on.records);
  lineio.on('message', on.lineio);
  lineio.on('error', (error) => on.failed('lineio', error as Error));
  capture.on('error', (error) => on.failed('capture', error as Error));
  records.on('error', (error) => on.failed('records', error as Error));
  return {
    dirty,
    capture: (message) => capture.postMessage(message),
    records: (message) => records.postMessage(message),
    lineio: (message) => lineio.postMessage(message),
    async terminate() {
      await Promise.all([capture.terminate(), records.terminate(), lineio.terminate()]);
    },
  };
}
