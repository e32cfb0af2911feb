import type { Part } from '../../../main/contract/domain.ts';
import { isAppError } from '../../../main/contract/errors.ts';
import type { AppState } from '../../app/app-state.svelte.ts';
import type { HeatGrid } from '../../ui/HeatLayer.svelte';

/** Parts in the strip. */
export const STRIP = 12;

/** The last parts of the station, which one is looked at, and its heat map. */
export class LiveState {
  /** Oldest first. */
  parts = $state.raw<Part[]>([]);
  /** Held by the user; null: the newest. */
  heldId = $state<number | null>(null);
  heatWanted = $state(false);
  heat = $state.raw<HeatGrid | null>(null);
  heatMissing = $state(false);
  zoom = $state(1);

  held = $state.raw<Part | null>(null);
  newest = $derived(this.parts.at(-1) ?? null);
  shown = $derived(this.held ?? this.newest);

  readonly #app: AppState;
  readonly #stationId: string;
  #waiting: Part[] = [];
  #frame = 0;
  #heatCall: AbortController | null = null;

  constructor(app: AppState, stationId: string) {
    this.#app = app;
    this.#stationId = stationId;
  }

  /** Nothing without a station. @returns ends the subscription. */
  open(): () => void {
    if (this.#stationId === '') return () => {};
    const dispose = this.#app.client.on('parts.inspected', (part) => this.#take(part));
    void this.fetch();
    return () => {
      dispose();
      cancelAnimationFrame(this.#frame);
      this.#heatCall?.abort();
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
    if (part === null) this.zoom = 1;
  }

  /** The heat map of a part; an earlier request that is still under way is dropped. */
  async fetchHeat(part: Part | null): Promise<void> {
    this.#heatCall?.abort();
    this.heat = null;
    this.heatMissing = false;
    if (!part || !this.heatWanted) return;
    const call = new AbortController();
    this.#heatCall = call;
    try {
      const heat = await this.#app.client.call('parts.heatMap', { partId: part.id }, { signal: call.signal });
      if (this.#heatCall === call) this.heat = heat;
    } catch (error) {
      // Many parts have none (no model, an error, a picture that is no longer kept): said in place, not as a failure.
      if (!isAppError(error, 'CANCELLED')) this.heatMissing = true;
    }
  }

  async start(): Promise<void> {
    await this.#app.run(async () => {
      this.#app.line = await this.#app.client.call('line.start', { stationId: this.#stationId });
    });
  }

  async stop(): Promise<void> {
    await this.#app.run(async () => {
      this.#app.line = await this.#app.client.call('line.stop', { stationId: this.#stationId });
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
