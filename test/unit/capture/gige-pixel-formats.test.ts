import { describe, expect, it } from 'vitest';
import { imageBytes, pixelFormatOf, pixelFormats, toImage } from '../../../main/capture/gige/pixel-formats.ts';
import {
  formatCode,
  patternFormats,
  patternOf,
  patternSize,
  sampleOf,
} from '../../../main/capture/gige/simulator/test-pattern.ts';

const FRAME = 12_345;
const [width, height] = [20, 7];
const formatNamed = (name: string) => pixelFormatOf(formatCode(name)!)!;
const upper = (index: number) => sampleOf(FRAME, index) >> 8;
const eight = (count: number) => Uint8Array.from({ length: count }, (_, i) => upper(i));
/** Where red lies in the two-by-two cell, by the format's name. */
const redOf: Record<string, [number, number]> = { RG: [0, 0], GR: [1, 0], GB: [0, 1], BG: [1, 1] };

describe('pixel formats', () => {
  it('are those of the Pixel Format Naming Convention', () => {
    // The second byte of a code is the number of bits that a pixel takes on the line.
    for (const { name, code, bits } of pixelFormats) expect([name, (code >>> 16) & 0xff]).toEqual([name, bits]);
    expect(new Set(pixelFormats.map((format) => format.code)).size).toBe(pixelFormats.length);
    for (const name of ['Mono8', 'Mono10p', 'Mono12Packed', 'BayerRG8', 'RGB8']) expect(patternFormats).toContain(name);
  });

  it.each(patternFormats.filter((name) => !name.startsWith('Bayer')))('%s comes as its upper eight bits', (name) => {
    const format = formatNamed(name);
    const sent = patternOf(name, width, height, FRAME);
    expect(sent.length).toBe(imageBytes(format, width, height, 0));
    const image = toImage(format, sent, width, height, 0);
    expect([image.width, image.height, image.channels]).toEqual([width, height, format.bits === 24 ? 3 : 1]);
    expect(Buffer.from(eight(width * height * image.channels)).equals(image.data)).toBe(true);
  });

  it.each(patternFormats.filter((name) => name.startsWith('Bayer')))('%s keeps each pixel its own colour', (name) => {
    const image = toImage(formatNamed(name), patternOf(name, width, height, FRAME), width, height, 0);
    expect(image.channels).toBe(3);
    const [redX, redY] = redOf[name.slice(5, 7)]!;
    for (let y = 0; y < height; y += 1) {
      for (let x = 0; x < width; x += 1) {
        const [inRedColumn, inRedRow] = [(x & 1) === redX, (y & 1) === redY];
        const channel = inRedColumn && inRedRow ? 0 : !inRedColumn && !inRedRow ? 2 : 1;
        expect(image.data[3 * (y * width + x) + channel]).toBe(upper(y * width + x));
      }
    }
  });

  it.each(Object.entries(redOf))('Bayer%s8 of one colour is that colour, to the rim', (order, [redX, redY]) => {
    const colour = [200, 90, 30];
    const raw = new Uint8Array(width * height);
    for (let y = 0; y < height; y += 1) {
      for (let x = 0; x < width; x += 1) {
        const [inRedColumn, inRedRow] = [(x & 1) === redX, (y & 1) === redY];
        raw[y * width + x] = colour[inRedColumn && inRedRow ? 0 : !inRedColumn && !inRedRow ? 2 : 1]!;
      }
    }
    const { data } = toImage(formatNamed(`Bayer${order}8`), raw, width, height, 0);
    for (let i = 0; i < data.length; i += 1) expect(data[i]).toBe(colour[i % 3]);
  });

  it('reads 12 and 10 bits by the bit, known values', () => {
    const values = [0xabc, 0x123, 0xfff, 0x001];
    // PFNC "p": least significant bit first. GigE Vision "Packed": upper bits outside, lower ones in the middle.
    const p12 = Buffer.from([0xbc, 0x3a, 0x12, 0xff, 0x1f, 0x00]);
    const packed12 = Buffer.from([0xab, 0x3c, 0x12, 0xff, 0x1f, 0x00]);
    const upperBits = values.map((value) => value >> 4);
    expect([...toImage(formatNamed('Mono12p'), p12, 4, 1, 0).data]).toEqual(upperBits);
    expect([...toImage(formatNamed('Mono12Packed'), packed12, 4, 1, 0).data]).toEqual(upperBits);
    // 0x3ff, 0x000, 0x155, 0x2aa as ten bits each, least significant first.
    const p10 = Buffer.from([0xff, 0x03, 0x50, 0x95, 0xaa]);
    expect([...toImage(formatNamed('Mono10p'), p10, 4, 1, 0).data]).toEqual([0xff, 0x00, 0x55, 0xaa]);
  });

  it('skips what is behind each line', () => {
    for (const name of ['Mono8', 'Mono12p', 'RGB8', 'Mono16']) {
      const format = formatNamed(name);
      const line = patternSize(name, width, 1);
      const sent = patternOf(name, width, height, FRAME);
      const padded = Buffer.concat(
        Array.from({ length: height }, (_, y) =>
          Buffer.concat([sent.subarray(y * line, (y + 1) * line), Buffer.alloc(6, 0xee)]),
        ),
      );
      expect(padded.length).toBe(imageBytes(format, width, height, 6));
      const [plain, fromPadded] = [toImage(format, sent, width, height, 0), toImage(format, padded, width, height, 6)];
      expect(Buffer.from(plain.data).equals(fromPadded.data)).toBe(true);
    }
  });
});
