import { setTimeout as sleep } from 'node:timers/promises';
import type { CameraConfig } from '../../contract/domain.ts';
import { AppError } from '../../contract/errors.ts';
import type { Camera, CameraListener, FrameSink } from '../camera.ts';
import type { OpenCameraOptions } from '../open-camera.ts';
import { createRandom, mixSeeds } from './random.ts';
import { defectClassesOf, renderPart, smallDefectsOf } from './render.ts';

export type SimulatedConfig = Extract<CameraConfig, { kind: 'simulated' }>;

/** Once it has appeared, the late defect makes up this share of the defects: a fault of the process, not a rarity. */
const LATE_SHARE = 0.4;

/** What the part with this number will be; depends on nothing but seed and number. Time on the simulated line is number / rate. */
export function plannedDefect(config: SimulatedConfig, index: number): string | null {
  const random = createRandom(mixSeeds(config.seed, index, 3));
  if (!random.chance(config.defectShare)) return null;
  const small = smallDefectsOf(config.surface);
  const classes = defectClassesOf(config.surface).filter(
    ({ className }) => config.defectPx === null || small.includes(className),
  );
  const late = classes.find((c) => c.late);
  const seconds = (index * 60) / config.partsPerMinute;
  if (late && seconds >= config.newDefectAfterS && random.chance(LATE_SHARE)) return late.className;
  const early = classes.filter((c) => !c.late);
  if (early.length === 0) {
    throw new AppError('INVALID_INPUT', {
      what: 'defectPx',
      problem: `${config.surface} has no defect that is so small`,
    });
  }
  return early[random.whole(0, early.length - 1)]!.className;
}

/** How much lighter each further picture of the same part is: as under one lamp after the other. */
const LIGHT_STEP = 0.02;

/** The part with this number, as the camera sees it. @param shot which picture of it */
export const renderPlanned = (config: SimulatedConfig, index: number, shot = 0) =>
  renderPart({
    surface: config.surface,
    seed: config.seed,
    index,
    defect: plannedDefect(config, index),
    defectPx: config.defectPx,
    width: config.width,
    height: config.height,
    light: Math.max(0.05, (1 + (config.lightDriftPer1000 * index) / 1000) * (1 + LIGHT_STEP * shot)),
  });

/**
 * A line that sends a rendered part at the chosen rate. A part that comes while the last is still being drawn or has no room is
 * dropped and counted: a real belt does not wait either.
 * @param position number of the next part, kept by the caller: a line that was stopped goes on where it was.
 */
export function createSimulatedCamera(
  config: SimulatedConfig,
  position = { next: 0 },
  { triggering = 'free-run', framesPerPart = 1 }: Partial<Pick<OpenCameraOptions, 'triggering' | 'framesPerPart'>> = {},
): Camera {
  const firstIndex = position.next;
  const stop = new AbortController();
  let running: Promise<void> = Promise.resolve();
  /** @param shot pictures since this camera was made */
  const picture = (shot: number) => {
    const index = firstIndex + Math.floor(shot / framesPerPart);
    return { ...renderPlanned(config, index, shot % framesPerPart), source: `part ${index}` };
  };
  /** A part of which some pictures were taken is not shown again. */
  const taken = (shots: number) => (position.next = firstIndex + Math.ceil(shots / framesPerPart));

  const run = async (sink: FrameSink) => {
    const periodMs = 60_000 / config.partsPerMinute / framesPerPart;
    const begun = performance.now();
    for (let n = 0; !stop.signal.aborted;) {
      const { image, truth, source } = picture(n);
      const wait = begun + n * periodMs - performance.now();
      // Also where it is late: the thread has to hear its messages.
      await sleep(Math.max(0, wait), undefined, { signal: stop.signal }).catch(() => {});
      if (stop.signal.aborted) return;
      sink.offer({ image, capturedAt: new Date(), notes: [], source, truth });
      n += 1;
      // Where drawing is slower than the belt, the parts in between were never seen: numbered, but not drawn.
      const unseen = Math.max(0, Math.floor((performance.now() - begun) / periodMs) - n);
      if (framesPerPart > 1 && unseen > 0) sink.missed?.(unseen);
      n += unseen;
      taken(n);
    }
  };

  let delivery: FrameSink | null = null;
  let shots = 0;
  /** One picture per trigger; drawn ahead, as the part lies before the camera when the trigger comes. */
  let ahead = triggering === 'software' ? picture(0) : null;
  const triggered = (): boolean => {
    if (!delivery || !ahead) return false;
    const { image, truth, source } = ahead;
    delivery.offer({ image, capturedAt: new Date(), notes: [], source, truth });
    shots += 1;
    taken(shots);
    ahead = picture(shots);
    return true;
  };

  const dispose = async () => {
    delivery = null;
    stop.abort();
    await running;
  };
  return {
    async open(sink: FrameSink, listener: CameraListener) {
      listener.onState({ kind: 'delivering' });
      delivery = sink;
      if (triggering !== 'software') running = run(sink);
    },
    ...(triggering === 'software' && { trigger: triggered }),
    dispose,
    [Symbol.asyncDispose]: dispose,
  };
}
