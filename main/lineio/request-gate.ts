import type { Layout } from './register-map.ts';

/*
 * What stands between a socket and the Modbus package: requests are cut from the byte stream one at a time and checked against
 * the station's map before anything acts on them (MODBUS Application Protocol V1.1b3, section 6; MODBUS Messaging on TCP/IP
 * V1.0b, section 3.1.3). The package's own checks let a write past the end of an area through, and it answers requests that
 * came in one segment in the reverse order.
 */

/** MBAP header: transaction, protocol, length, unit. */
const HEADER = 7;
/** Greatest PDU 253 bytes, and the unit. */
const MAX_LENGTH = 254;

const ILLEGAL_FUNCTION = 1;
const ILLEGAL_ADDRESS = 2;
const ILLEGAL_VALUE = 3;

/** Why a request is refused; 0: it is well. */
export function checkRequest(pdu: Buffer, { size, writable }: Layout): number {
  const code = pdu[0]!;
  const read = ({ 1: 'coil', 2: 'discrete', 3: 'holding', 4: 'input' } as const)[code];
  if (read) {
    if (pdu.length !== 5) return ILLEGAL_VALUE;
    const count = pdu.readUInt16BE(3);
    if (count < 1 || count > (code <= 2 ? 2000 : 125)) return ILLEGAL_VALUE;
    return pdu.readUInt16BE(1) + count <= size[read] ? 0 : ILLEGAL_ADDRESS;
  }
  const area = ({ 5: 'coil', 6: 'holding', 15: 'coil', 16: 'holding' } as const)[code];
  if (!area) return ILLEGAL_FUNCTION;
  if (pdu.length < 5) return ILLEGAL_VALUE;
  let count = 1;
  if (code === 5 || code === 6) {
    if (pdu.length !== 5) return ILLEGAL_VALUE;
    if (code === 5 && pdu.readUInt16BE(3) !== 0xff00 && pdu.readUInt16BE(3) !== 0) return ILLEGAL_VALUE;
  } else {
    count = pdu.readUInt16BE(3);
    if (count < 1 || count > (code === 15 ? 1968 : 123) || pdu.length < 6) return ILLEGAL_VALUE;
    const bytes = code === 15 ? Math.ceil(count / 8) : 2 * count;
    if (pdu[5] !== bytes || pdu.length !== 6 + bytes) return ILLEGAL_VALUE;
  }
  const first = pdu.readUInt16BE(1);
  for (let at = first; at < first + count; at += 1) if (!writable[area].has(at)) return ILLEGAL_ADDRESS;
  return 0;
}

const exception = (request: Buffer, code: number): Buffer => {
  const answer = Buffer.alloc(9);
  request.copy(answer, 0, 0, HEADER);
  answer.writeUInt16BE(3, 4);
  answer[7] = request[7]! | 0x80;
  answer[8] = code;
  return answer;
};

export interface Gate {
  /** False: not Modbus; the connection is to be closed. Never holds more than one request. */
  push(data: Buffer): boolean;
}

export function createGate(options: {
  layout: Layout;
  /** A whole request that may be carried out. */
  pass: (request: Buffer) => void;
  answer: (bytes: Buffer) => void;
  onRefused: () => void;
}): Gate {
  let held: Buffer = Buffer.alloc(0);
  return {
    push(data) {
      held = held.length === 0 ? data : Buffer.concat([held, data]);
      while (held.length >= HEADER) {
        const length = held.readUInt16BE(4);
        if (held.readUInt16BE(2) !== 0 || length < 2 || length > MAX_LENGTH) return false;
        if (held.length < 6 + length) break;
        const request = Buffer.from(held.subarray(0, 6 + length));
        held = held.subarray(6 + length);
        const refusal = checkRequest(request.subarray(HEADER), options.layout);
        if (refusal === 0) {
          options.pass(request);
        } else {
          options.onRefused();
          options.answer(exception(request, refusal));
        }
      }
      return true;
    },
  };
}
