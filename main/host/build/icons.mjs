// The program's icon in the forms that systems ask for, made of the one drawing: electron-builder would fetch a tool for it.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { drawingAsPng } from '../../vision/drawing.ts';
import { root } from './launch.mjs';

export const DRAWING = join(root, 'renderer', 'app', 'icon.svg');
/** What electron-builder.yml takes. */
export const WINDOWS_ICON = join(root, 'dist', 'icons', 'icon.ico');
/** From a list in the Explorer to its largest view; px. */
const WINDOWS_SIZES = [16, 24, 32, 48, 64, 128, 256];

/** @returns {Promise<Buffer>} PNG of so many pixels a side */
export const iconAsPng = (size) => drawingAsPng(readFileSync(DRAWING), size);

/** Writes the icon of the Windows program: PNGs in one file, as Windows Vista and later take them. */
export async function makeWindowsIcon(file = WINDOWS_ICON) {
  const pictures = await Promise.all(WINDOWS_SIZES.map(iconAsPng));
  const head = Buffer.alloc(6 + 16 * pictures.length);
  head.writeUInt16LE(1, 2); // an icon, no cursor
  head.writeUInt16LE(pictures.length, 4);
  let place = head.length;
  for (const [i, picture] of pictures.entries()) {
    const at = 6 + 16 * i;
    // 256 does not fit a byte and is written as 0.
    head.writeUInt8(WINDOWS_SIZES[i] % 256, at);
    head.writeUInt8(WINDOWS_SIZES[i] % 256, at + 1);
    head.writeUInt16LE(1, at + 4); // planes
    head.writeUInt16LE(32, at + 6); // bits per pixel
    head.writeUInt32LE(picture.length, at + 8);
    head.writeUInt32LE(place, at + 12);
    place += picture.length;
  }
  mkdirSync(join(file, '..'), { recursive: true });
  writeFileSync(file, Buffer.concat([head, ...pictures]));
}
