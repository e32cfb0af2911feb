import { assert } from '../errors.ts';

/* Text of a message on wires that carry text (WebSocket). */

/** @throws an assertion for typed arrays: JSON would turn them into objects without a word. Images go by URL. */
export const toJson = (message: unknown): string =>
  JSON.stringify(message, (_key, value: unknown) => {
    assert(!ArrayBuffer.isView(value), 'typed arrays do not ride on a JSON wire');
    return value;
  });

/** No message of the contract is nested half as deep; what is ten thousand levels deep ends whoever copies it to another process. */
const MAX_DEPTH = 64;

function isTooDeep(text: string): boolean {
  let depth = 0;
  let inString = false;
  for (let i = 0; i < text.length; i += 1) {
    const c = text.charCodeAt(i);
    // 34 is ", 92 is the backslash; and the brackets: 91 [ 123 { 93 ] 125 }
    if (inString) {
      if (c === 92) i += 1;
      else if (c === 34) inString = false;
    } else if (c === 34) inString = true;
    else if (c === 91 || c === 123) {
      depth += 1;
      if (depth > MAX_DEPTH) return true;
    } else if (c === 93 || c === 125) depth -= 1;
  }
  return false;
}

/** undefined for text that is not JSON, or is nested deeper than any message. */
export function fromJson(text: string): unknown {
  if (isTooDeep(text)) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
