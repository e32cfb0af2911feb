import fc from 'fast-check';
import { expect, test } from 'vitest';
import { blankFrame, readFrame } from '../../../main/contract/feed.ts';

const MOST = 64 * 64;

test('a picture that was written is read as it was, out of whatever memory its message lies in', () => {
  fc.assert(
    fc.property(
      fc.nat(0xffff_ffff),
      fc.integer({ min: 1, max: 64 }),
      fc.integer({ min: 1, max: 64 }),
      fc.constantFrom(1 as const, 3 as const),
      fc.nat(7),
      (want, width, height, channels, offset) => {
        const { message, data } = blankFrame({ want, width, height, channels });
        for (let i = 0; i < data.length; i += 1) data[i] = (i * 31) % 251;
        const moved = new Uint8Array(message.length + offset);
        moved.set(message, offset);
        expect(readFrame(moved.subarray(offset), MOST)).toEqual({ frame: { want, width, height, channels, data } });
      },
    ),
  );
});

test('whatever else comes is no picture, and never one whose pixels are not all there', () => {
  fc.assert(
    fc.property(
      // Of any bytes, and of headers that are nearly right.
      fc.oneof(
        fc.uint8Array({ maxLength: 200 }),
        fc
          .tuple(fc.array(fc.nat(5), { minLength: 4, maxLength: 4 }), fc.uint8Array({ maxLength: 80 }))
          .map(([head, rest]) => new Uint8Array([...head.flatMap((n) => [n, 0, 0, 0]), ...rest])),
      ),
      (message) => {
        const read = readFrame(message, MOST);
        if (!('frame' in read)) return read.problem !== '';
        const { width, height, channels, data } = read.frame;
        return width * height <= MOST && [1, 3].includes(channels) && data.length === width * height * channels;
      },
    ),
  );
  const { message } = blankFrame({ want: 9, width: 4, height: 4, channels: 3 });
  for (const length of [message.length - 1, 16, 15, 0]) {
    const read = readFrame(message.subarray(0, length), MOST);
    expect(read).toMatchObject({ want: length < 16 ? null : 9 });
  }
  expect(readFrame(message, 15)).toMatchObject({ want: 9, problem: expect.stringContaining('4 x 4') });
});
