import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { expect, test } from 'vitest';
import { plantEventsSchema } from '../../main/contract/plant-events.ts';
import { openPublisher } from '../../main/lineio/mqtt/publisher.ts';

/*
 * What no broker does when it is asked to: this one refuses, keeps its acknowledgements to itself and ends connections. MQTT 3.1.1,
 * packets of less than 128 bytes alone.
 */

const CONNECT = 1;
const PUBLISH = 3;
const NOT_AUTHORIZED = 5;

interface Connection {
  socket: Socket;
  published: { id: number; text: string }[];
}

interface Answer {
  /** Of the CONNACK. */
  code: number;
  acknowledges(text: string): boolean;
}
const toAll = () => true;
const toNothing = () => false;

/** @param answer what the connection with this number, from 0, is told, and what of that which it publishes is acknowledged */
async function startBroker(answer: (connection: number) => Answer) {
  const connections: Connection[] = [];
  const server = createServer((socket) => {
    const { code, acknowledges } = answer(connections.length);
    const connection: Connection = { socket, published: [] };
    connections.push(connection);
    const take = (packet: Buffer) => {
      const kind = packet[0]! >> 4;
      if (kind === CONNECT) socket.write(Buffer.from([0x20, 2, 0, code]));
      if (kind !== PUBLISH) return;
      const at = 4 + packet.readUInt16BE(2);
      const text = packet.toString('utf8', at + 2);
      connection.published.push({ id: packet.readUInt16BE(at), text });
      if (acknowledges(text)) socket.write(Buffer.from([0x40, 2, packet[at]!, packet[at + 1]!]));
    };
    let rest = Buffer.alloc(0);
    socket.on('error', () => {});
    socket.on('data', (data) => {
      rest = Buffer.concat([rest, data]);
      while (rest.length >= 2 && rest.length >= 2 + rest[1]!) {
        take(rest.subarray(0, 2 + rest[1]!));
        rest = rest.subarray(2 + rest[1]!);
      }
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    connections,
    port: (server.address() as { port: number }).port,
    async [Symbol.asyncDispose]() {
      for (const { socket } of connections) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function open(port: number, warn = () => {}) {
  const config = plantEventsSchema.parse({ kind: 'mqtt', address: '127.0.0.1', port, prefix: 'p' });
  if (config.kind === 'none') throw new Error('it names a broker');
  const publisher = await openPublisher(config, { clientId: 'test', password: null, log: { warn } });
  return { ...publisher, [Symbol.asyncDispose]: () => publisher.dispose() };
}
const until = async (condition: () => boolean): Promise<void> => {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 10));
};
const texts = (connection: Connection | undefined) => connection?.published.map(({ text }) => text) ?? [];

test('a broker that refuses is asked again: it may know its accounts later', async () => {
  await using broker = await startBroker((n) => ({ code: n === 0 ? NOT_AUTHORIZED : 0, acknowledges: toAll }));
  await using publisher = await open(broker.port);
  publisher.publish('s/part', { n: 1 });
  await until(() => publisher.state().problem !== null);
  expect(publisher.state()).toMatchObject({ connection: 'connecting', problem: expect.stringMatching(/authorized/i) });
  await until(() => publisher.state().sent === 1);
  expect(texts(broker.connections[1])).toContain('{"n":1}');
  expect(publisher.state()).toMatchObject({ connection: 'connected', problem: null });
}, 60_000);

test('a connection that ends while what was open is sent again loses nothing', async () => {
  // Two connections acknowledge nothing: the second one hangs in what the first has left open.
  await using broker = await startBroker((n) => ({ code: 0, acknowledges: n >= 2 ? toAll : toNothing }));
  await using publisher = await open(broker.port);
  publisher.publish('s/part', { n: 1 });
  await until(() => texts(broker.connections[0]).includes('{"n":1}'));
  broker.connections[0]!.socket.destroy();
  await until(() => texts(broker.connections[1]).length > 0);
  publisher.publish('s/part', { n: 2 });
  broker.connections[1]!.socket.destroy();
  await until(() => publisher.state().waiting === 0);
  expect(publisher.state()).toMatchObject({ sent: 2, dropped: 0 });
  expect(texts(broker.connections[2])).toEqual(expect.arrayContaining(['{"n":1}', '{"n":2}']));
}, 60_000);

test('a message that a broker never acknowledges holds up no other, over the next connection either', async () => {
  const no = '{"n":1}';
  await using broker = await startBroker((n) => ({
    code: 0,
    acknowledges: n === 0 ? toNothing : (text) => text !== no,
  }));
  await using publisher = await open(broker.port);
  for (const n of [1, 2]) publisher.publish('s/part', { n });
  await until(() => texts(broker.connections[0]).includes('{"n":2}'));
  broker.connections[0]!.socket.destroy();
  publisher.publish('s/part', { n: 3 });
  await expect.poll(() => publisher.state().sent, { timeout: 10_000 }).toBe(2);
  expect(publisher.state()).toMatchObject({ connection: 'connected', waiting: 1, dropped: 0, problem: null });
  expect(texts(broker.connections[1])).toEqual(['1', no, '{"n":2}', '{"n":3}']);
}, 60_000);

test('of the states of a line the last is told last, though an earlier one was open when the connection ended', async () => {
  await using broker = await startBroker((n) => ({ code: 0, acknowledges: n === 0 ? toNothing : toAll }));
  await using publisher = await open(broker.port);
  publisher.publish('s/line', { n: 1 }, { retain: true, key: 's' });
  await until(() => texts(broker.connections[0]).includes('{"n":1}'));
  broker.connections[0]!.socket.destroy();
  await until(() => publisher.state().connection === 'connecting');
  for (const n of [2, 3]) publisher.publish('s/line', { n }, { retain: true, key: 's' });
  await until(() => publisher.state().waiting === 0);
  expect(texts(broker.connections[1]).at(-1)).toBe('{"n":3}');
}, 60_000);

test('a broker that ends each connection at what it is told is a problem that stays, and is noted once', async () => {
  await using broker = await startBroker(() => ({
    code: 0,
    acknowledges: () => {
      broker.connections.at(-1)!.socket.destroy();
      return false;
    },
  }));
  let noted = 0;
  await using publisher = await open(broker.port, () => (noted += 1));
  const problems = new Set<string | null>();
  for (const connection of [1, 2]) {
    await until(() => broker.connections.length > connection && broker.connections[connection]!.published.length > 0);
    problems.add(publisher.state().problem);
  }
  expect([...problems]).toEqual([expect.any(String)]);
  expect(noted).toBe(1);
}, 60_000);
