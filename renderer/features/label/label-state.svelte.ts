import type { QueueItem, Region } from '../../../main/contract/domain.ts';
import type { MethodOutput } from '../../../main/contract/methods.ts';
import type { AppState } from '../../app/app-state.svelte.ts';
import { labelsPerMinute, keyOfClasses } from './keys.ts';

/** The queue is fetched whole: it holds facts only, pictures come by address. */
const MOST_ITEMS = 10_000;
/** Other windows and the line change the queue while somebody labels; not more than one fetch per this time. */
const REFRESH_MS = 1500;

export type LastAction =
  { kind: 'label'; partIds: number[]; classId: string } | { kind: 'skip'; partIds: number[] } | null;

/** The labelling queue and what is done with it. Labels are sent one after the other, in the order of the key presses. */
export class LabelState {
  items = $state.raw<QueueItem[]>([]);
  loaded = $state(false);
  total = $state(0);
  currentId = $state<number | null>(null);
  summary = $state.raw<MethodOutput<'labels.summary'> | null>(null);
  last = $state.raw<LastAction>(null);
  box = $state.raw<Region | null>(null);
  drawing = $state(false);
  zoom = $state(1);
  /** Parts that are left out of the open group; null: no group is open. */
  leftOut = $state.raw<ReadonlySet<number> | null>(null);
  /** When labels were made in this session, ms. */
  times = $state.raw<number[]>([]);

  index = $derived(this.items.findIndex(({ part }) => part.id === this.currentId));
  current = $derived(this.items[this.index] ?? null);
  group = $derived.by(() => {
    const { current } = this;
    if (!current || current.groupId === null || current.groupSize < 2) return [];
    return this.items.filter(({ groupId }) => groupId === current.groupId);
  });
  chosen = $derived.by(() => {
    const { leftOut } = this;
    if (leftOut !== null) return this.group.filter(({ part }) => !leftOut.has(part.id));
    return this.current ? [this.current] : [];
  });
  rate = $derived(labelsPerMinute(this.times));
  readonly keys: ReturnType<typeof keyOfClasses>;

  readonly #app: AppState;
  readonly #stationId: string;
  #pending: Promise<unknown> = Promise.resolve();
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(app: AppState, stationId: string) {
    this.#app = app;
    this.#stationId = stationId;
    this.keys = $derived(keyOfClasses(app.classes));
  }

  open(): () => void {
    const dispose = this.#app.client.on('queue.changed', ({ stationId }) => {
      if (stationId !== this.#stationId || this.#timer !== undefined) return;
      this.#timer = setTimeout(() => {
        this.#timer = undefined;
        this.#queue(() => this.fetch());
      }, REFRESH_MS);
    });
    this.#queue(() => this.fetch());
    return () => {
      clearTimeout(this.#timer);
      dispose();
    };
  }

  async fetch(): Promise<void> {
    const stationId = this.#stationId;
    const [queue, summary] = await Promise.all([
      this.#app.client.call('queue.list', { stationId, limit: MOST_ITEMS }),
      this.#app.client.call('labels.summary', { stationId }),
    ]);
    const place = this.index;
    this.items = queue.items;
    this.total = queue.total;
    this.summary = summary;
    this.loaded = true;
    if (this.index < 0) this.#select(Math.max(0, Math.min(place, queue.items.length - 1)));
  }

  /** Calls are made in order: an undo never overtakes the label that it takes back. */
  #queue(work: () => Promise<void>): void {
    this.#pending = this.#pending.then(() => this.#app.run(work));
  }

  #select(index: number): void {
    this.currentId = this.items[index]?.part.id ?? null;
    this.box = null;
    this.zoom = 1;
  }

  move(step: number): void {
    if (this.items.length === 0) return;
    this.leftOut = null;
    this.#select(Math.min(this.items.length - 1, Math.max(0, this.index + step)));
  }

  choose(partId: number): void {
    this.leftOut = null;
    this.#select(this.items.findIndex(({ part }) => part.id === partId));
  }

  openGroup(): void {
    if (this.group.length > 1) this.leftOut = this.leftOut === null ? new Set() : null;
  }

  toggleInGroup(partId: number): void {
    const next = new Set(this.leftOut ?? []);
    if (!next.delete(partId)) next.add(partId);
    this.leftOut = next;
  }

  /** Takes parts out of the list at once; the next one is on screen before the core has answered. */
  #remove(partIds: readonly number[]): void {
    const gone = new Set(partIds);
    const from = this.index;
    const before = this.items.slice(0, Math.max(0, from)).filter(({ part }) => gone.has(part.id)).length;
    this.items = this.items.filter(({ part }) => !gone.has(part.id));
    this.total = Math.max(0, this.total - gone.size);
    this.leftOut = null;
    this.#select(Math.min(from - before, this.items.length - 1));
  }

  label(classId: string): void {
    const partIds = this.chosen.map(({ part }) => part.id);
    if (partIds.length === 0) return;
    const box = partIds.length === 1 ? this.box : null;
    this.#remove(partIds);
    this.last = { kind: 'label', partIds, classId };
    this.times = [...this.times, ...partIds.map(() => Date.now())];
    this.#queue(async () => {
      try {
        await this.#app.client.call('labels.create', { partIds, classId, box });
      } catch (error) {
        // Not labelled after all: the parts come back into the list.
        this.last = null;
        await this.fetch();
        throw error;
      }
      this.summary = await this.#app.client.call('labels.summary', { stationId: this.#stationId });
    });
  }

  skip(): void {
    const part = this.current?.part;
    if (!part) return;
    this.#remove([part.id]);
    this.last = { kind: 'skip', partIds: [part.id] };
    this.#queue(async () => void (await this.#app.client.call('queue.skip', { partId: part.id })));
  }

  undo(): void {
    this.#queue(async () => {
      const { partIds } = await this.#app.client.call('labels.undo', {});
      this.times = this.times.slice(0, Math.max(0, this.times.length - partIds.length));
      this.last = null;
      await this.fetch();
      const [first] = partIds;
      if (first !== undefined && this.items.some(({ part }) => part.id === first)) this.choose(first);
    });
  }

  /** Makes a class and labels the chosen parts with it. @throws what the core said. */
  async createClass(names: { en: string; ja: string }): Promise<void> {
    const created = await this.#app.client.call('classes.create', { names });
    await this.#app.fetchClasses();
    this.label(created.id);
  }
}
