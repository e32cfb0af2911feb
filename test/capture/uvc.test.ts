import { afterEach, expect, test } from 'vitest';
import type { Camera, CameraFrame } from '../../main/capture/camera.ts';
import { createUsbCamera, type UsbCameraOptions, type UsbConfig } from '../../main/capture/uvc/camera.ts';
import { cameraConfigSchema } from '../../main/contract/domain.ts';
import { blankFrame, feedAskSchema, type FeedAsk, type FeedSays } from '../../main/contract/feed.ts';
import { silentLog } from '../../main/contract/log.ts';
import type { Channel } from '../../main/contract/rpc/channel.ts';
import { createMemoryPair } from '../../main/contract/rpc/memory.ts';
import { createFeeds } from '../../main/host/feeds.ts';
import { until } from '../process/line-home.ts';

/*
 * The line's end of a USB camera, with the supervisor's relay between and pages that behave in every way. What a real page does in a
 * real browser is in test/e2e/usb-camera.test.ts.
 */

const config = cameraConfigSchema.parse({ kind: 'usb', label: 'Bench camera' }) as UsbConfig;
let camera: Camera | null = null;
afterEach(async () => camera?.dispose());

async function openCamera(options: Partial<UsbCameraOptions> = {}, over: Partial<UsbConfig> = {}) {
  const feeds = createFeeds(silentLog);
  const frames: { width: number; first: number }[] = [];
  const states: string[] = [];
  const troubles: (string | null)[] = [];
  let missed = 0;
  camera = createUsbCamera(
    { ...config, ...over },
    {
      cameraId: 'cam',
      maxPixels: 10_000,
      triggering: 'free-run',
      openFeed() {
        const [own, other] = createMemoryPair();
        feeds.offer('st', other);
        return own;
      },
      ...options,
    },
  );
  await camera.open(
    {
      offer: ({ image }: CameraFrame) => (frames.push({ width: image.width, first: image.data[0]! }), true),
      whenFree: async () => {},
      missed: (count) => (missed += count),
    },
    {
      onState: (state) => states.push(state.kind === 'lost' ? state.problem.code : state.kind),
      onRejected: () => {},
      onTrouble: (problem) => troubles.push(problem?.message ?? null),
    },
  );
  await until('the line wants pictures', () => feeds.wanted().includes('st'));
  const join = (answer: (ask: FeedAsk, page: Channel) => void) => {
    const [page, end] = createMemoryPair();
    page.onMessage((message) => answer(feedAskSchema.parse(message), page));
    expect(feeds.join('st', end)).toBe(true);
    return page;
  };
  return { frames, states, troubles, join, missed: () => missed };
}
const say = (page: Channel, says: FeedSays) => page.send(says);
const deliver = { delivering: { label: 'Bench camera', width: 8, height: 8 } };
const send = (page: Channel, want: number, width = 8, value = 1) => {
  const { message, data } = blankFrame({ want, width, height: 8, channels: 1 });
  data.fill(value);
  page.send(message);
};

test('free run: one picture is wanted at a time; a page that goes is told, and the next goes on', async () => {
  const { frames, states, join } = await openCamera();
  let open = 0;
  const page = join((ask, from) => {
    if ('open' in ask) {
      expect(ask.open).toEqual(config);
      say(from, deliver);
    } else if ('want' in ask) {
      open += 1;
      expect(open).toBe(1);
      setImmediate(() => {
        open -= 1;
        send(from, ask.want);
      });
    }
  });
  await until('pictures', () => frames.length >= 20);
  page.close();
  await until('the loss is told', () => states.includes('CAMERA_NO_WINDOW'));
  const before = frames.length;
  join((ask, from) => {
    if ('open' in ask) say(from, deliver);
    // Another size than before: the camera was set otherwise.
    else if ('want' in ask) setImmediate(() => send(from, ask.want, 16, 2));
  });
  await until('pictures again', () => frames.length > before + 5);
  expect(frames.at(-1)).toEqual({ width: 16, first: 2 });
  expect(states).toEqual(['starting', 'delivering', 'CAMERA_NO_WINDOW', 'delivering']);
});

test('a trigger is one picture under its number, begun after it; one that is late, or that a lost camera owes, comes to nobody', async () => {
  const { frames, states, join, missed } = await openCamera({ triggering: 'software' });
  const wants: number[] = [];
  const page = join((ask, from) => {
    if ('open' in ask) say(from, deliver);
    if (!('want' in ask)) return;
    expect(ask.discard).toBe(1);
    wants.push(ask.want);
  });
  await until('it delivers', () => states.includes('delivering'));
  for (let n = 0; n < 3; n += 1) camera!.trigger!();
  await until('three are wanted', () => wants.length === 3);
  // Those of two triggers that were given up, the second one misshapen: not that of the third.
  send(page, wants[0]!, 8, 11);
  send(page, wants[1]!, 5_000);
  send(page, wants[2]!, 8, 33);
  await until('the third came', () => frames.length === 1);
  expect(missed()).toBe(0);
  for (let n = 0; n < 2; n += 1) camera!.trigger!();
  await until('two more are wanted', () => wants.length === 5);
  say(page, { lost: { reason: 'device', problem: 'it was disconnected' } });
  await until('they are missed', () => missed() === 2);
  expect(states.at(-1)).toBe('CAMERA_LOST');
  // Not asked for while it is lost, and whoever asked is told so.
  expect(camera!.trigger!()).toBe(false);
  say(page, deliver);
  await until('it delivers again', () => states.at(-1) === 'delivering');
  send(page, wants[3]!, 8, 44);
  expect(camera!.trigger!()).toBe(true);
  await until('a sixth is wanted', () => wants.length === 6);
  send(page, wants[5]!, 8, 66);
  await until('it came', () => frames.length === 2);
  expect(frames).toEqual([
    { width: 8, first: 33 },
    { width: 8, first: 66 },
  ]);
  expect(missed()).toBe(2);
});

test('a picture that does not fit is counted, told once, and not shown; one that fits takes it back', async () => {
  const { frames, troubles, join, missed } = await openCamera();
  let n = 0;
  join((ask, from) => {
    if ('open' in ask) say(from, deliver);
    if (!('want' in ask)) return;
    n += 1;
    const sent = n;
    setImmediate(() => {
      if (sent <= 2) send(from, ask.want, 5_000);
      else if (sent === 3)
        from.send(blankFrame({ want: ask.want, width: 8, height: 8, channels: 1 }).message.subarray(0, 60));
      else send(from, ask.want);
    });
  });
  await until('a whole one', () => frames.length > 0);
  expect(missed()).toBe(3);
  expect(troubles).toEqual([
    expect.stringContaining('5000 x 8, the limit is 10000 pixels'),
    expect.stringContaining('44 bytes, not 64'),
    null,
  ]);
});

test('nobody reads, a page hangs, a camera is not permitted, a setting cannot be, no input for a trigger: each is told by name', async () => {
  const alone = await openCamera({ pageMs: 100 });
  await until('it is told', () => alone.states.includes('CAMERA_NO_WINDOW'));
  await camera!.dispose();
  const hanging = await openCamera({ silenceMs: 1_500 });
  const page = hanging.join((ask, from) => 'open' in ask && say(from, deliver));
  let closed = false;
  page.onClose(() => (closed = true));
  await until('it is cut off', () => closed);
  expect(hanging.states).toEqual(['starting', 'delivering', 'CAMERA_LOST']);
  await camera!.dispose();
  // One that hangs while it opens the camera has never said anything.
  const opening = await openCamera({ silenceMs: 300 });
  const mute = opening.join(() => {});
  closed = false;
  mute.onClose(() => (closed = true));
  await until('it is cut off, too', () => closed);
  expect(opening.states).toEqual(['starting', 'CAMERA_LOST']);
  await camera!.dispose();
  for (const [reason, code] of [
    ['permission', 'CAMERA_NOT_PERMITTED'],
    ['settings', 'CAMERA_CONFIG'],
    ['still', 'CAMERA_LOST'],
  ] as const) {
    const { states, join } = await openCamera();
    join((ask, from) => 'open' in ask && say(from, { lost: { reason, problem: 'why' } }));
    await until(code, () => states.includes(code));
    await camera!.dispose();
  }
  await expect(openCamera({ triggering: 'hardware' })).rejects.toMatchObject({ code: 'CAMERA_CONFIG' });
});
