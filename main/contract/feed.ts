import { z } from 'zod';
import { usbCameraSchema } from './domain/usb-camera.ts';

/*
 * What a line process and the page that reads a USB camera for it say to each other (main/capture/uvc/README.md). The supervisor
 * joins the two. A picture is one binary message, and comes only for a `want`: so there is never more under way than was asked for.
 */

/** A camera as the browser lists it. */
export const videoDeviceSchema = z.object({ deviceId: z.string().max(512), label: z.string().max(512) });
export type VideoDevice = z.infer<typeof videoDeviceSchema>;

/** Line to page. */
export const feedAskSchema = z.union([
  z.object({ open: usbCameraSchema }),
  /** The next picture under this number, after `discard` others were let go. */
  z.object({ want: z.number().int().min(0).max(0xffff_ffff), discard: z.number().int().min(0).max(10) }),
  /** Which cameras there are (the shell's question; a line never asks). */
  z.object({ list: z.literal(true) }),
]);
export type FeedAsk = z.infer<typeof feedAskSchema>;

/** Why no pictures come: not allowed, not there, cannot be as it is set, stands still. */
const feedLossSchema = z.object({
  reason: z.enum(['permission', 'device', 'settings', 'still', 'unsupported']),
  problem: z.string().max(500),
});
export type FeedLoss = z.infer<typeof feedLossSchema>;

/** Page to line. What was wanted before `lost` is not answered any more. */
export const feedSaysSchema = z.union([
  z.object({ delivering: z.object({ label: z.string().max(512), width: z.number().int(), height: z.number().int() }) }),
  z.object({ lost: feedLossSchema }),
  z.object({ devices: z.array(videoDeviceSchema).max(64) }),
]);
export type FeedSays = z.infer<typeof feedSaysSchema>;

/** Supervisor to line: whether a page is there. */
const feedRelaySchema = z.object({ page: z.enum(['joined', 'left']) });
export type FeedRelay = z.infer<typeof feedRelaySchema>;

/** What a line may hear. */
export const feedHeardSchema = z.union([feedRelaySchema, feedSaysSchema]);

/** A picture's message: number, width, height, channels (32 bit, little endian), then its pixels row by row. */
const HEADER_BYTES = 16;
/** More than the largest picture that any recipe takes needs. */
export const MAX_FEED_BYTES = HEADER_BYTES + 3 * 100_000_000;

export interface FeedFrame {
  want: number;
  width: number;
  height: number;
  channels: 1 | 3;
  /** width * height * channels bytes. */
  data: Uint8Array;
}

/** An empty picture's message; `data` is where its pixels belong. */
export function blankFrame(head: Omit<FeedFrame, 'data'>): { message: Uint8Array; data: Uint8Array } {
  const message = new Uint8Array(HEADER_BYTES + head.width * head.height * head.channels);
  const view = new DataView(message.buffer);
  view.setUint32(0, head.want, true);
  view.setUint32(4, head.width, true);
  view.setUint32(8, head.height, true);
  view.setUint32(12, head.channels, true);
  return { message, data: message.subarray(HEADER_BYTES) };
}

/** @returns the picture, over the message's own memory; or the number it was sent under (null: not even that) and what is wrong with it */
export function readFrame(
  message: Uint8Array,
  maxPixels: number,
): { frame: FeedFrame } | { want: number | null; problem: string } {
  if (message.length < HEADER_BYTES)
    return { want: null, problem: `a message of ${message.length} bytes is no picture` };
  const view = new DataView(message.buffer, message.byteOffset, message.byteLength);
  const [want, width, height, channels] = [0, 4, 8, 12].map((at) => view.getUint32(at, true)) as [
    number,
    number,
    number,
    number,
  ];
  if (width < 1 || height < 1 || width * height > maxPixels)
    return { want, problem: `its picture is ${width} x ${height}, the limit is ${maxPixels} pixels` };
  if (channels !== 1 && channels !== 3) return { want, problem: `its picture has ${channels} channels` };
  const bytes = width * height * channels;
  if (message.length - HEADER_BYTES !== bytes)
    return { want, problem: `its picture has ${message.length - HEADER_BYTES} bytes, not ${bytes}` };
  return { frame: { want, width, height, channels, data: message.subarray(HEADER_BYTES) } };
}
