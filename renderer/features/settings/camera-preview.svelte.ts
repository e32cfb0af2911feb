import type { Part } from '../../../main/contract/domain.ts';
import { isAppError } from '../../../main/contract/errors.ts';
import type { MethodInput } from '../../../main/contract/methods.ts';
import { errorOfProblem, type AppState } from '../../app/app-state.svelte.ts';

/** Between two questions for a picture: three a second. */
const ASK_MS = 300;
/** After a refusal. */
const REFUSED_MS = 1_500;
/** A setting that is being typed: the camera is opened anew once nothing changes for so long. */
const SETTLED_MS = 600;
/** Somebody who looks longer at one camera has gone for lunch. */
const MOST_MS = 10 * 60_000;

/** A camera as a form holds it. */
export type CameraInput = MethodInput<'cameras.preview'>['camera'];

/** A part's picture, by its hash, or one that is only shown. */
export type ShownPicture = ({ sha: string } | { bitmap: ImageBitmap }) & {
  /** Of the whole frame, pixels. */
  width: number;
  height: number;
};

/** The picture of a station's camera, while somebody asks for it: the camera is the line's where that runs, and opened for it where not. */
export class CameraPreview {
  phase = $state<'off' | 'starting' | 'delivering' | 'lost' | 'over'>('off');
  shown = $state.raw<Extract<ShownPicture, { bitmap: ImageBitmap }> | null>(null);
  failure = $state.raw<unknown>(null);
  readonly #app: AppState;
  readonly #stationId: string;
  #asking: AbortController | null = null;
  /** Number of the newest picture that was seen. */
  #seen = 0;

  constructor(app: AppState, stationId: string) {
    this.#app = app;
    this.#stationId = stationId;
  }

  get isOn(): boolean {
    return this.phase !== 'off' && this.phase !== 'over';
  }

  /** @param cameraOf as the form holds it now */
  start(cameraOf: () => CameraInput): void {
    this.#asking?.abort();
    this.#asking = new AbortController();
    this.phase = 'starting';
    this.failure = null;
    void this.#ask(cameraOf, this.#asking.signal);
  }

  stop(phase: 'off' | 'over' = 'off'): void {
    const wasOn = this.isOn;
    this.#asking?.abort();
    this.phase = phase;
    this.failure = null;
    this.#app.previewedId = null;
    this.#show(null);
    if (!wasOn) return;
    // A camera that nobody asks for closes by itself; this only saves the seconds until then.
    this.#app.client.call('cameras.endPreview', { stationId: this.#stationId }).catch(() => {});
  }

  async #ask(cameraOf: () => CameraInput, signal: AbortSignal): Promise<void> {
    const until = performance.now() + MOST_MS;
    let camera = cameraOf();
    let typed = { text: JSON.stringify(camera), at: performance.now() };
    while (!signal.aborted) {
      if (performance.now() > until) return this.stop('over');
      const now = cameraOf();
      const text = JSON.stringify(now);
      if (text !== typed.text) typed = { text, at: performance.now() };
      else if (performance.now() - typed.at >= SETTLED_MS) camera = now;
      // Its pictures come through a page where the browser reads it.
      this.#app.previewedId = camera.kind === 'usb' ? this.#stationId : null;
      const pause = document.hidden ? ASK_MS : await this.#look(camera, signal);
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
  }

  /** @returns how long to wait before the next one, ms */
  async #look(camera: CameraInput, signal: AbortSignal): Promise<number> {
    try {
      const asked = { stationId: this.#stationId, camera, after: this.#seen };
      const { state, problem, picture } = await this.#app.client.call('cameras.preview', asked, { signal });
      if (signal.aborted) return 0;
      this.phase = state === 'line-runs' ? 'starting' : state;
      this.failure = problem && errorOfProblem(problem);
      if (picture === null) return ASK_MS;
      this.#seen = picture.number;
      const bytes = Uint8Array.from(atob(picture.jpeg), (letter) => letter.charCodeAt(0));
      const bitmap = await createImageBitmap(new Blob([bytes]));
      if (signal.aborted) bitmap.close();
      else this.#show({ bitmap, width: picture.width, height: picture.height });
      return ASK_MS;
    } catch (error) {
      if (signal.aborted) return 0;
      // Signed out: the page says so.
      if (isAppError(error, 'NOT_ALLOWED')) this.stop();
      else this.failure = error;
      return REFUSED_MS;
    }
  }

  #show(picture: CameraPreview['shown']): void {
    const before = this.shown;
    this.shown = picture;
    // It has been drawn; what is left of it is memory.
    before?.bitmap.close();
  }
}

/** The newest part of a line that runs, a few times a second however fast it is. */
export class LinePicture {
  shown = $state.raw<Extract<ShownPicture, { sha: string }> | null>(null);
  #shownAt = -Infinity;

  /** @returns ends it */
  open(app: AppState, stationId: string): () => void {
    const { client } = app;
    const dispose = client.on('parts.inspected', (part) => {
      if (part.stationId === stationId && performance.now() - this.#shownAt >= ASK_MS) this.#take(part);
    });
    void app.run(async () => {
      const [part] = await client.call('parts.recent', { stationId, limit: 1 });
      if (part && this.shown === null) this.#take(part);
    });
    return () => {
      dispose();
      this.shown = null;
    };
  }

  #take({ imageSha, width, height }: Part): void {
    if (imageSha === null) return;
    this.#shownAt = performance.now();
    this.shown = { sha: imageSha, width, height };
  }
}
