import { assert } from '../errors.ts';

/* Text of a message on wires that carry text (WebSocket). */

/** @throws an assertion for typed arrays: JSON would turn them into objects without a word. Images go by URL. */
export const toJson = (message: unknown): string =>
  JSON.stringify(message, (_key, value: unknown) => {
    assert(!ArrayBuffer.isView(value), 'typed arrays do not ride on a JSON wire');
    return value;
  });

/** undefined for text that is not JSON. */
export function fromJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
