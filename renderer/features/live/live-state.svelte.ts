import type { Part } from '../../../main/contract/domain.ts';
import type { AppState } from '../../app/app-state.svelte.ts';
import { wholePicture, type Look } from '../../lib/picture.ts';
import { Heat } from '../../ui/heat.svelte.ts';

/** Parts in the strip. */
export const STRIP = 12;

/** The last parts of the station, which one is looked at, and its heat map. */
export class LiveState {
  /** Oldest first. */
  parts = $state.raw<Part[]>([]);
  readonly heat: Heat;
  look = $state.raw<Look>(wholePicture);

  /** By the user; null: the newest is shown. */
  held = $state.raw<Part | null>(null);
  newest = $derived(this.parts.at(-1) ?? null);
  shown = $derived(this.held ?? this.newest);

  readonly #app: AppState;
  readonly #stationId: string;
  #waiting: Part[] = [];
  #frame = 0;

  constructor(app: AppState, stationId: string) {
    this.#app = app;
    this.#stationId = stationId;
    this.heat = new Heat(app.client);
  }

  /** Nothing without a station. @returns ends the subscription. */
  open(): () => void {
    if (this.#stationId === '') return () => {};
    const dispose = this.#app.client.on('parts.inspected', (part) => this.#take(part));
    void this.fetch();
    return () => {
      dispose();
      cancelAnimationFrame(this.#frame);
      this.heat.close();
    };
  }

  async fetch(): Promise<void> {
    const recent = await this.#app.run(() =>
      this.#app.client.call('parts.recent', { stationId: this.#stationId, limit: STRIP }),
    );
    if (recent) this.parts = [...recent].sort((a, b) => a.id - b.id);
  }

  /** Latest wins: a fast line changes the screen once per frame, not once per part. */
  #take(part: Part): void {
    if (part.stationId !== this.#stationId) return;
    this.#waiting.push(part);
    if (this.#waiting.length > STRIP) this.#waiting.shift();
    if (this.#frame !== 0) return;
    this.#frame = requestAnimationFrame(() => {
      this.#frame = 0;
      const fresh = this.#waiting;
      this.#waiting = [];
      const known = new Set(fresh.map(({ id }) => id));
      this.parts = [...this.parts.filter(({ id }) => !known.has(id)), ...fresh].slice(-STRIP);
    });
  }

  hold(part: Part | null): void {
    this.held = part;
    if (part === null) this.look = wholePicture;
  }

  async start(): Promise<void> {
    await this.#app.run(async () => {
      this.#app.takeLine(await this.#app.client.call('line.start', { stationId: this.#stationId }));
    });
  }

  async stop(): Promise<void> {
    await this.#app.run(async () => {
      this.#app.takeLine(await this.#app.client.call('line.stop', { stationId: this.#stationId }));
    });
  }

  /** @returns the part that is in the queue now; undefined after a failure. */
  async toQueue(): Promise<Part | undefined> {
    const part = this.shown;
    if (!part) return undefined;
    const item = await this.#app.run(() => this.#app.client.call('parts.toQueue', { partId: part.id }));
    return item?.part;
  }
}
