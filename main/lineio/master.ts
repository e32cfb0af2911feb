import { once } from 'node:events';
import { connect } from 'node:net';
import { ModbusTCPClient } from 'jsmodbus';
import { AppError, problemOf } from '../contract/errors.ts';
import { createRegisterImage } from './register-image.ts';
import { layOut, type SignalName, type SignalValue } from './register-map.ts';

/** A Modbus master that looks at a line output and changes nothing. */
export interface SignalReader extends Disposable {
  /** @throws LINE_OUTPUT_UNREACHABLE when the connection ended */
  read(): Promise<Record<SignalName, SignalValue>>;
}

export interface SignalReaderOptions {
  address: string;
  port: number;
  /** As the station lays them (`lineOutput.addresses`). */
  addresses?: Readonly<Record<string, number>>;
  timeoutMs?: number;
}

const WORDS_PER_READ = 125;
const BITS_PER_READ = 2000;

/** @throws LINE_OUTPUT_UNREACHABLE, INVALID_INPUT for addresses that cannot be */
export async function openSignalReader(options: SignalReaderOptions): Promise<SignalReader> {
  const { address, port, addresses = {}, timeoutMs = 3_000 } = options;
  const layout = layOut(addresses);
  const unreachable = (cause: unknown) =>
    new AppError('LINE_OUTPUT_UNREACHABLE', { where: `${address}:${port}`, problem: problemOf(cause) }, { cause });
  const socket = connect({ host: address, port });
  // Before the socket connects: the client listens for that.
  const client = new ModbusTCPClient(socket, 1, timeoutMs);
  try {
    await once(socket, 'connect', { signal: AbortSignal.timeout(timeoutMs) });
  } catch (cause) {
    socket.destroy();
    throw unreachable(cause);
  }
  // What fails is told by the request under way.
  socket.on('error', () => {});
  const chunks = (size: number, most: number) =>
    Array.from({ length: Math.ceil(size / most) }, (_, i) => [i * most, Math.min(most, size - i * most)] as const);
  return {
    async read() {
      const image = createRegisterImage(layout);
      const { bytes } = image;
      try {
        for (const [at, count] of chunks(layout.size.input, WORDS_PER_READ))
          (await client.readInputRegisters(at, count)).response.body.valuesAsBuffer.copy(bytes.input, 2 * at);
        for (const [at, count] of chunks(layout.size.holding, WORDS_PER_READ))
          (await client.readHoldingRegisters(at, count)).response.body.valuesAsBuffer.copy(bytes.holding, 2 * at);
        for (const [at, count] of chunks(layout.size.discrete, BITS_PER_READ))
          (await client.readDiscreteInputs(at, count)).response.body.valuesAsBuffer.copy(bytes.discrete, at >> 3);
        for (const [at, count] of chunks(layout.size.coil, BITS_PER_READ))
          (await client.readCoils(at, count)).response.body.valuesAsBuffer.copy(bytes.coil, at >> 3);
      } catch (cause) {
        throw unreachable((cause as { message?: unknown }).message ?? cause);
      }
      return image.values();
    },
    [Symbol.dispose]: () => void socket.destroy(),
  };
}
