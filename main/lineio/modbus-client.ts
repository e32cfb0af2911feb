import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { ModbusTCPClient } from 'jsmodbus';
import { pieces, readBits, readWords, WRITE } from './modbus-requests.ts';
import { FIRST_PAUSE_MS, longerPauseMs } from './pauses.ts';
import type { RegisterImage } from './register-image.ts';
import type { Layout } from './register-map.ts';

/*
 * The line output as Modbus master, for a PLC that only serves: what the PLC would write here is read from its coils and holding
 * registers, what it would read is written to others of its coils and holding registers.
 */

export interface ModbusClientOptions {
  address: string;
  port: number;
  unit: number;
  pollMs: number;
  /** Longest time for one answer; after that the PLC is connected to anew, as a late answer could be taken for that of the next request. */
  answerTimeoutMs: number;
  /** The PLC's coil for the first discrete signal, and its holding register for the first input register. */
  writeCoilsAt: number;
  writeRegistersAt: number;
  layout: Layout;
  image: RegisterImage;
  /** The PLC has answered. */
  onAnswer: () => void;
  /** What it asks for was read; the image has it already. `first`: since the connection was made. */
  onRead: (first: boolean) => void;
  /** After that the PLC was written that no result is ready, or has it written already. */
  onWithdrawn: () => void;
}

export interface ModbusClient extends AsyncDisposable {
  readonly port: number;
  readonly connections: number;
}

/** Connects at once and again whenever the connection is lost, with growing pauses; never throws. */
export function openModbusClient(options: ModbusClientOptions): ModbusClient {
  const { layout, image, pollMs, answerTimeoutMs } = options;
  const { size } = layout;
  const stop = new AbortController();
  let connected = false;

  const cycle = async (
    client: ModbusTCPClient,
    written: { bits: Buffer | null; words: Buffer | null },
    first: boolean,
  ) => {
    const heard = async (answer: Promise<unknown>) => {
      await answer;
      options.onAnswer();
    };
    await heard(readBits(client, 'readCoils', size.coil, image.bytes.coil));
    await heard(readWords(client, 'readHoldingRegisters', size.holding, image.bytes.holding));
    options.onRead(first);
    const bits = Buffer.from(image.bytes.discrete);
    const words = Buffer.from(image.bytes.input);
    const writeBits = async () => {
      if (written.bits?.equals(bits)) return;
      const levels = Array.from({ length: size.discrete }, (_, i) => ((bits[i >> 3]! >> (i & 7)) & 1) === 1);
      for (const [from, count] of pieces(size.discrete, WRITE.bits))
        await heard(client.writeMultipleCoils(options.writeCoilsAt + from, levels.slice(from, from + count)));
      written.bits = bits;
    };
    const writeWords = async () => {
      if (written.words?.equals(words)) return;
      for (const [from, count] of pieces(size.input, WRITE.words))
        await heard(
          client.writeMultipleRegisters(options.writeRegistersAt + from, words.subarray(2 * from, 2 * (from + count))),
        );
      written.words = words;
    };
    // What a result is comes before that it is ready; that it is no more, before what it was.
    const ready = (bits[layout.addressOf.resultReady >> 3]! >> (layout.addressOf.resultReady & 7)) & 1;
    if (ready === 1) await writeWords();
    await writeBits();
    if (ready === 0) options.onWithdrawn();
    await writeWords();
  };

  const run = async () => {
    for (let pause = FIRST_PAUSE_MS; !stop.signal.aborted; pause = longerPauseMs(pause)) {
      const socket = connect({ host: options.address, port: options.port });
      // As an error, for whoever waits for the connection hears of nothing else. By AbortSignal.any the signal would keep a note of each try, for as long as the PLC is away.
      const end = () => socket.destroy(new Error('given up'));
      stop.signal.addEventListener('abort', end, { once: true });
      const limit = setTimeout(end, answerTimeoutMs);
      try {
        // Before the socket connects: the client listens for that.
        const client = new ModbusTCPClient(socket, options.unit, answerTimeoutMs);
        await once(socket, 'connect');
        clearTimeout(limit);
        socket.on('error', () => {});
        socket.setNoDelay(true);
        connected = true;
        const written = { bits: null, words: null };
        for (let first = true; !stop.signal.aborted; first = false) {
          await cycle(client, written, first);
          pause = FIRST_PAUSE_MS;
          await sleep(pollMs, undefined, { signal: stop.signal });
        }
      } catch {
        // Refused, silent or gone: tried again. That the PLC does not speak is told by whoever waits for onAnswer.
      } finally {
        connected = false;
        clearTimeout(limit);
        stop.signal.removeEventListener('abort', end);
        socket.destroy();
      }
      await sleep(pause, undefined, { signal: stop.signal }).catch(() => {});
    }
  };
  const running = run();
  return {
    port: options.port,
    get connections() {
      return connected ? 1 : 0;
    },
    async [Symbol.asyncDispose]() {
      stop.abort();
      await running;
    },
  };
}
