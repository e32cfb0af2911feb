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

/** The part with this number, as the camera sees it. */
export const renderPlanned = (config: SimulatedConfig, index: number) =>
  renderPart({
    surface: config.surface,
    seed: config.seed,
    index,
    defect: plannedDefect(config, index),
    defectPx: config.defectPx,
    width: config.width,
    height: config.height,
    light: Math.max(0.05, 1 + (config.lightDriftPer1000 * index) / 1000),
  });

/**
 * A line that sends a rendered part at the chosen rate. A part that comes while the last is still being drawn or has no room is
 * dropped and counted: a real belt does not wait either.
 * @param position number of the next part, kept by the caller: a line that was stopped goes on where it was.
 */
export function createSimulatedCamera(
  config: SimulatedConfig,
  position = { next: 0 },
  triggering: OpenCameraOptions['triggering'] = 'free-run',
): Camera {
  const firstIndex = position.next;
  const stop = new AbortController();
  let running: Promise<void> = Promise.resolve();

  const run = async (sink: FrameSink) => {
    const periodMs = 60_000 / config.partsPerMinute;
    const begun = performance.now();
    for (let n = 0; !stop.signal.aborted;) {
      const index = firstIndex + n;
      const { image, truth } = renderPlanned(config, index);
      const wait = begun + n * periodMs - performance.now();
      // Also where it is late: the thread has to hear its messages.
      await sleep(Math.max(0, wait), undefined, { signal: stop.signal }).catch(() => {});
      if (stop.signal.aborted) return;
      sink.offer({ image, capturedAt: new Date(), notes: [], source: `part ${index}`, truth });
      n += 1;
      // Where drawing is slower than the belt, the parts in between were never seen: numbered, but not drawn.
      n = Math.max(n, Math.floor((performance.now() - begun) / periodMs));
      position.next = firstIndex + n;
    }
  };

  let delivery: FrameSink | null = null;
  /** One part per trigger; drawn ahead, as the part lies before the camera when the trigger comes. */
  let ahead = triggering === 'software' ? renderPlanned(config, position.next) : null;
  const triggered = () => {
    if (!delivery || !ahead) return;
    const part = ahead;
    delivery.offer({
      image: part.image,
      capturedAt: new Date(),
      notes: [],
      source: `part ${position.next}`,
      truth: part.truth,
    });
    position.next += 1;
    ahead = renderPlanned(config, position.next);
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
