import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { MessageChannel, Worker, type MessagePort } from 'node:worker_threads';
import { afterEach, expect, test } from 'vitest';
import { lineOutputSchema, lineSettingsSchema, type Judgement } from '../../main/contract/domain.ts';
import type { LineioToCapture } from '../../main/contract/triggers.ts';
import type { LineioThreadData, ToLineio, ToLineioWatch } from '../../main/lineio/lineio-thread.ts';
import { openPlc } from '../helpers/plc.ts';
import { newJudgement } from '../store/examples.ts';

/* The line-output thread alone: what the threads beside it say comes here in the order that the test wants. */

let worker: Worker | null = null;
afterEach(async () => {
  await worker?.terminate();
  worker = null;
});

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

function startThread() {
  const [watch, capture] = [new MessageChannel(), new MessageChannel()];
  worker = new Worker(new URL('../../main/lineio/lineio-thread.ts', import.meta.url), {
    workerData: { watch: watch.port2, capture: capture.port2 } satisfies LineioThreadData,
    transferList: [watch.port2, capture.port2],
  });
  const asked: LineioToCapture[] = [];
  capture.port1.on('message', (message: LineioToCapture) => asked.push(message));
  const tell = (message: ToLineio) => worker!.postMessage(message);
  const note = (message: ToLineioWatch) => (watch.port1 as MessagePort).postMessage(message);
  return { asked, tell, note };
}

const configure = (port: number, acknowledgeTimeoutMs: number): ToLineio => ({
  kind: 'configure',
  output: lineOutputSchema.parse({ kind: 'modbus-server', port, resultTimeoutMs: 60_000, acknowledgeTimeoutMs }),
  trigger: lineSettingsSchema.parse({ trigger: { source: 'line-output' } }).trigger,
  classCodes: {},
});
const ok: Judgement = newJudgement({ verdict: 'ok', unsureReason: null });

test('the verdict of a part from before the line output was set up anew is not that of a part after it', async () => {
  const port = await freePort();
  const { asked, tell, note } = startThread();
  const parts = () => asked.flatMap((message) => (message.kind === 'trigger' ? [message.part] : []));
  const listens = () =>
    openPlc(port).then(
      (plc) => (plc[Symbol.dispose](), true),
      () => false,
    );
  const trigger = async () => {
    await expect.poll(listens).toBe(true);
    const plc = await openPlc(port);
    await plc.until('ready', (s) => s.triggerReady === true);
    const before = parts().length;
    await plc.write('trigger', true);
    await expect.poll(() => parts().length).toBe(before + 1);
    return plc;
  };
  tell(configure(port, 60_000));
  tell({ kind: 'state', running: true });
  {
    using plc = await trigger();
    tell(configure(port, 50_000));
    await plc.closed;
  }
  using plc = await trigger();
  const [before, after] = parts();
  // The frame of the first part was taken, and is judged only now.
  note({ kind: 'frame', seq: 1, part: before! });
  tell({ kind: 'verdict', seq: 1, part: before!, judgement: ok });
  note({ kind: 'frame', seq: 2, part: after! });
  tell({ kind: 'verdict', seq: 2, part: after!, judgement: newJudgement({ verdict: 'ng', unsureReason: null }) });
  expect(await plc.until('a result', (s) => s.resultReady === true)).toMatchObject({ ok: false, ng: true, verdict: 2 });
});
