import { once } from 'node:events';
import { connect } from 'node:net';
import { ModbusTCPClient } from 'jsmodbus';
import { createRegisterImage } from '../../main/lineio/register-image.ts';
import { layOut, registerMap, type SignalName, type SignalValue } from '../../main/lineio/register-map.ts';

/** A PLC as Modbus master: reads the signals of a line output by name, and writes its coils. */
export interface Plc extends Disposable {
  read(): Promise<Record<SignalName, SignalValue>>;
  write(coil: 'trigger' | 'acknowledge' | 'resetStatistics', on: boolean): Promise<void>;
  writeLot(lot: string): Promise<void>;
  /** Reads until it holds. @throws after `ms` */
  until(
    what: string,
    holds: (signals: Record<SignalName, SignalValue>) => boolean,
    ms?: number,
  ): Promise<Record<SignalName, SignalValue>>;
  /** A part, as PLC programs do it: trigger, wait for the result, take it, acknowledge. */
  part(): Promise<Record<SignalName, SignalValue>>;
  /** Resolves when the connection has ended. */
  readonly closed: Promise<unknown>;
}

/** @param options `waitMs`: how long it waits for what it awaits; `answerMs`: for each answer */
export async function openPlc(port: number, { waitMs = 60_000, answerMs = 30_000 } = {}): Promise<Plc> {
  const socket = connect(port, '127.0.0.1');
  const client = new ModbusTCPClient(socket, 1, answerMs);
  await once(socket, 'connect');
  socket.setNoDelay(true);
  socket.on('error', () => {});
  // Not by `once`, which takes a connection that was reset for a failure.
  const closed = new Promise<void>((resolve) => socket.on('close', () => resolve()));
  const layout = layOut({});
  const plc: Plc = {
    closed,
    async read() {
      const image = createRegisterImage(layout);
      const words = await client.readInputRegisters(0, layout.size.input);
      // After the words: while result ready is on in the bits, the words before it may be older, never newer.
      const bits = await client.readDiscreteInputs(0, layout.size.discrete);
      words.response.body.valuesAsBuffer.copy(image.bytes.input);
      bits.response.body.valuesAsBuffer.copy(image.bytes.discrete);
      return image.values();
    },
    async write(coil, on) {
      await client.writeSingleCoil(registerMap[coil].address, on);
    },
    async writeLot(lot) {
      await client.writeMultipleRegisters(registerMap.lot.address, Buffer.from(lot.padEnd(16, '\0'), 'latin1'));
    },
    async until(what, holds, ms = waitMs) {
      const end = Date.now() + ms;
      for (;;) {
        const signals = await plc.read();
        if (holds(signals)) return signals;
        if (Date.now() > end) throw new Error(`the PLC waited ${ms} ms in vain until ${what}`);
      }
    },
    async part() {
      await plc.write('trigger', true);
      await plc.until('a result is ready', (s) => s.resultReady === true);
      // Read once more: it stays as it is until it is acknowledged.
      const result = await plc.read();
      await plc.write('trigger', false);
      await plc.write('acknowledge', true);
      await plc.write('acknowledge', false);
      return result;
    },
    [Symbol.dispose]: () => void socket.destroy(),
  };
  return plc;
}
