import { once } from 'node:events';
import { connect } from 'node:net';
import { ModbusTCPClient } from 'jsmodbus';
import { AppError, problemOf } from '../contract/errors.ts';
import { readBits, readWords } from './modbus-requests.ts';
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
  return {
    async read() {
      const image = createRegisterImage(layout);
      const { bytes } = image;
      try {
        await readWords(client, 'readInputRegisters', layout.size.input, bytes.input);
        await readWords(client, 'readHoldingRegisters', layout.size.holding, bytes.holding);
        await readBits(client, 'readDiscreteInputs', layout.size.discrete, bytes.discrete);
        await readBits(client, 'readCoils', layout.size.coil, bytes.coil);
      } catch (cause) {
        throw unreachable((cause as { message?: unknown }).message ?? cause);
      }
      return image.values();
    },
    [Symbol.dispose]: () => void socket.destroy(),
  };
}
