const UTF_16 = [
  { mark: [0xff, 0xfe], encoding: 'utf-16le' },
  { mark: [0xfe, 0xff], encoding: 'utf-16be' },
] as const;

/**
 * Text of a file as editors and shells save it: UTF-8, or UTF-16 where it begins with that byte order mark (PowerShell 5.1 writes one). Without the mark.
 * @returns null for bytes of another encoding
 */
export function decodeText(bytes: Uint8Array): string | null {
  const encoding = UTF_16.find(({ mark }) => mark.every((byte, i) => bytes[i] === byte))?.encoding ?? 'utf-8';
  try {
    return new TextDecoder(encoding, { fatal: true }).decode(bytes);
  } catch {
    return null;
  }
}
