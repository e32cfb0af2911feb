import { unzipSync } from 'fflate';
import { readText } from '../gvcp.ts';
import { register, URL_BYTES } from '../registers.ts';
import { DescriptionError, MAX_XML_BYTES } from './xml.ts';

/** A description is one file, perhaps with schemas or notes beside it. */
const MAX_ZIP_ENTRIES = 100;

/** How a device's memory is read; an open control channel is one. */
export interface Memory {
  readMemory(address: number, length: number, signal?: AbortSignal): Promise<Buffer>;
}

/**
 * "Local:name.zip;address;length", both hexadecimal (GigE Vision, "XML description file"). A description on a web server or in a
 * file of this machine is not fetched: a camera does not choose what this program reads.
 */
export function parseUrl(url: string): { name: string; address: number; length: number } | null {
  const match = /^local:(?:\/\/\/)?([^;?]*);([0-9a-f]+);([0-9a-f]+)/i.exec(url.trim());
  if (!match) return null;
  const address = parseInt(match[2]!, 16);
  const length = parseInt(match[3]!, 16);
  if (!(length > 0) || length > MAX_XML_BYTES || address + length > 2 ** 32) return null;
  return { name: match[1]!, address, length };
}

/** The description's XML, from the first of the two URLs that works. @throws DescriptionError */
export async function fetchDescription(memory: Memory, signal?: AbortSignal): Promise<string> {
  const refused: string[] = [];
  for (const at of [register.firstUrl, register.secondUrl]) {
    const url = readText(await memory.readMemory(at, URL_BYTES, signal));
    if (url === '') continue;
    const place = parseUrl(url);
    if (!place) {
      refused.push(`"${url.slice(0, 100)}" is no place in the camera`);
      continue;
    }
    const bytes = await memory.readMemory(place.address, place.length, signal);
    try {
      return unpackDescription(bytes);
    } catch (error) {
      if (!(error instanceof DescriptionError)) throw error;
      refused.push(error.message);
    }
  }
  throw new DescriptionError(refused.join('; ') || 'the camera names no description');
}

/** Plain or zipped; told apart by their first bytes, for names lie. */
export function unpackDescription(bytes: Uint8Array): string {
  if (bytes[0] !== 0x50 || bytes[1] !== 0x4b) return toText(bytes);
  try {
    let entries = 0;
    let chosen = false;
    // The size in the directory is also that of the memory it is unpacked into, and one file alone is: a zip bomb gets no further.
    const files = unzipSync(bytes, {
      filter: (file) => {
        entries += 1;
        if (entries > MAX_ZIP_ENTRIES)
          throw new DescriptionError('the zip file of the description holds too many files');
        if (chosen || file.originalSize > MAX_XML_BYTES || !/\.xml$/i.test(file.name)) return false;
        chosen = true;
        return true;
      },
    });
    const first = Object.values(files)[0];
    if (!first) throw new DescriptionError('the zip file of the description holds no XML of a fit size');
    return toText(first);
  } catch (cause) {
    if (cause instanceof DescriptionError) throw cause;
    throw new DescriptionError(`the description cannot be unzipped: ${(cause as Error).message}`);
  }
}

/** Cameras fill up the end with NUL or blanks. */
const toText = (bytes: Uint8Array): string => {
  const end = bytes.indexOf(0);
  return Buffer.from(end < 0 ? bytes : bytes.subarray(0, end))
    .toString('utf8')
    .replace(/^\uFEFF/, '')
    .trim();
};
