import { once } from 'node:events';
import { connect } from 'node:net';
import { WebSocket } from 'ws';
import type { Serving } from '../../../main/host/serve.ts';

/** What comes back for these bytes until the server ends the connection; `silent`: nothing within five seconds. */
export function rawHttp(
  port: number,
  bytes: string | Buffer,
  { cutOff = false } = {},
): Promise<{ text: string; silent: boolean }> {
  return new Promise((resolve) => {
    let text = '';
    let silent = false;
    const socket = connect(port, '127.0.0.1', () => {
      // Whoever ends its side is not answered any more by Node: only what is to be cut off does.
      if (cutOff) socket.end(bytes);
      else socket.write(bytes);
    });
    socket.setTimeout(5_000, () => {
      silent = text === '';
      socket.destroy();
    });
    socket.on('data', (data) => (text += data.toString('latin1')));
    socket.on('end', () => socket.end());
    socket.on('error', () => {});
    socket.on('close', () => resolve({ text, silent }));
  });
}

/** The cookie that the printed address is exchanged for. */
export async function admit({ url, port }: Serving): Promise<string> {
  const { search } = new URL(url);
  const { text } = await rawHttp(
    port,
    `GET /${search} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nConnection: close\r\n\r\n`,
  );
  return /set-cookie: ([^;]+)/i.exec(text)![1]!;
}

export interface Answer {
  ok: boolean;
  value?: unknown;
  error?: { code: string };
}
export interface Window {
  socket: WebSocket;
  /** `closed` as error code where the connection ended instead. */
  call(method: string, inputJson: string): Promise<Answer>;
}
export async function openWindow(serving: Serving, cookie: string): Promise<Window> {
  const origin = `http://127.0.0.1:${serving.port}`;
  const socket = new WebSocket(`ws://127.0.0.1:${serving.port}/rpc`, { headers: { cookie, origin } });
  await once(socket, 'open');
  const waiting = new Map<number, (answer: Answer) => void>();
  let next = 0;
  socket.on('message', (data) => {
    const { id, ...answer } = JSON.parse(String(data)) as Answer & { id?: number };
    if (id === undefined) return;
    waiting.get(id)?.(answer);
    waiting.delete(id);
  });
  socket.on('close', () => {
    for (const settle of waiting.values()) settle({ ok: false, error: { code: 'closed' } });
  });
  return {
    socket,
    call: (method, inputJson) =>
      new Promise((resolve) => {
        const id = (next += 1);
        waiting.set(id, resolve);
        socket.send(`{"id":${id},"method":${JSON.stringify(method)},"input":${inputJson}}`);
      }),
  };
}
