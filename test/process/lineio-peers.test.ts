import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { networkInterfaces } from 'node:os';
import { expect, test } from 'vitest';
import { openModbusServer } from '../../main/lineio/modbus-server.ts';
import { createRegisterImage } from '../../main/lineio/register-image.ts';
import { layOut } from '../../main/lineio/register-map.ts';

/* Who may speak to the line output. Loopback always may, so this needs another address of this machine. */

const own = Object.values(networkInterfaces())
  .flatMap((list) => list ?? [])
  .find(({ family, internal }) => family === 'IPv4' && !internal)?.address;
/** MBAP header and function 5, write single coil: the trigger at 0 on (Modbus Application Protocol 1.1b3, section 6.5). */
const TRIGGER_ON = Buffer.from('00010000000601050000ff00', 'hex');

const closed = (socket: Socket) => new Promise<void>((resolve) => socket.once('close', () => resolve()));

async function openServer(peers: string[]) {
  const layout = layOut({});
  const heard = { requests: 0, writes: 0, refused: 0 };
  const server = await openModbusServer({
    address: own!,
    port: 0,
    peers,
    layout,
    image: createRegisterImage(layout),
    onRequest: () => (heard.requests += 1),
    onWrite: () => (heard.writes += 1),
    onRefused: () => (heard.refused += 1),
  });
  const master = () => {
    const socket = connect(server.port, own!);
    socket.on('error', () => {});
    return socket;
  };
  return { server, heard, master, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
}

test.skipIf(own === undefined)('an address that is not allowed is cut off unheard, and counted', async () => {
  await using at = await openServer(['192.0.2.254']);
  const socket = at.master();
  let answered = 0;
  socket.on('data', (data) => (answered += data.length));
  socket.write(TRIGGER_ON);
  await closed(socket);
  expect(answered).toBe(0);
  expect(at.heard).toEqual({ requests: 0, writes: 0, refused: 1 });
});

test.skipIf(own === undefined)('one that is allowed is heard, as many at a time as there is room for', async () => {
  await using at = await openServer([`::ffff:${own}`]);
  const first = at.master();
  first.write(TRIGGER_ON);
  const [answer] = (await once(first, 'data')) as [Buffer];
  expect(answer.equals(TRIGGER_ON)).toBe(true);
  expect(at.heard).toEqual({ requests: 1, writes: 1, refused: 0 });
  const others = Array.from({ length: 7 }, () => at.master());
  for (const other of others) other.write(TRIGGER_ON);
  await Promise.all(others.map((other) => once(other, 'data')));
  const ninth = at.master();
  ninth.write(TRIGGER_ON);
  await closed(ninth);
  expect(at.heard).toEqual({ requests: 8, writes: 8, refused: 1 });
  for (const socket of [first, ...others]) socket.destroy();
});
