import { hash } from 'node:crypto';

/**
 * One text for one value: keys sorted, no spaces, `undefined` left out (as JSON does). What is signed or hashed is this text, so
 * that re-writing a file with other spacing or key order neither breaks nor fakes a signature.
 */
export const canonicalJson = (value: unknown): string => {
  if (value === null || typeof value === 'boolean' || typeof value === 'string') return JSON.stringify(value);
  if (typeof value === 'number') {
    if (!Number.isFinite(value)) throw new Error(`assertion failed: ${value} has no JSON form and cannot be signed`);
    return JSON.stringify(value);
  }
  if (Array.isArray(value)) return `[${value.map((item) => canonicalJson(item ?? null)).join(',')}]`;
  const object = value as Record<string, unknown>;
  let text = '';
  for (const key of Object.keys(object).sort()) {
    if (object[key] === undefined) continue;
    text += `${text === '' ? '' : ','}${JSON.stringify(key)}:${canonicalJson(object[key])}`;
  }
  return `{${text}}`;
};

/** Lower-case hex sha256. */
export const sha256 = (bytes: Uint8Array | string): string => hash('sha256', bytes, 'hex');
