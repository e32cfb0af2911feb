import { AppError } from '../../contract/errors.ts';
import type { Channel } from '../../contract/rpc/channel.ts';
import { connectWebSocket } from '../../contract/rpc/web-socket-client.ts';
import { UsageError } from './output.ts';

/** The address holds a secret: not an argument, which every account of the PC can read. */
export const SERVED = 'MEKIKI_SERVED';

/**
 * A connection to the core behind a window that `serve` shows on this PC, as a browser tab has it: the token of its address is exchanged for a cookie.
 * @throws UsageError without an address of this PC in MEKIKI_SERVED, DISCONNECTED where nobody serves there (any more)
 */
export async function connectServed(address = process.env[SERVED]): Promise<Channel> {
  if (address === undefined || !URL.canParse(address))
    throw new UsageError('--served', `put the address that serve printed into ${SERVED}`);
  const { hostname, host, origin } = new URL(address);
  if (!['127.0.0.1', 'localhost'].includes(hostname)) throw new UsageError(SERVED, `${hostname} is not this PC`);
  const answer = await fetch(address, { redirect: 'manual' }).catch((cause: unknown) => {
    throw new AppError('DISCONNECTED', { peer: host }, { cause });
  });
  const cookie = answer.headers.getSetCookie()[0]?.split(';')[0];
  // It was started anew: the token of before is worth nothing.
  if (cookie === undefined) throw new AppError('DISCONNECTED', { peer: host });
  // Node's takes headers, the DOM's type does not.
  const init = { headers: { cookie, origin } } as never;
  return connectWebSocket(`ws://${host}/rpc`, (at) => new WebSocket(at, init));
}
