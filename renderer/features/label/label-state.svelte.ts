import type { QueueItem, Region } from '../../../main/contract/domain.ts';
import type { MethodOutput } from '../../../main/contract/methods.ts';
import type { AppState } from '../../app/app-state.svelte.ts';
import { asTaken, type Levels } from '../../lib/contrast.ts';
import { t } from '../../lib/i18n/language.svelte.ts';
import { wholePicture, type Look } from '../../lib/picture.ts';
import { Heat } from '../../ui/heat.svelte.ts';
import { labelsPerMinute, keyOfClasses } from './keys.ts';

/** The queue is fetched whole: it holds facts only, pictures come by address. */
const MOST_ITEMS = 10_000;
/** As many as the contract gives at once: the first labels of those that are not known to wait are in sight. */
const MOST_BLIND = 500;
/** Other windows and the line change the queue while somebody labels; not more than one fetch per this time. */
const REFRESH_MS = 1500;

export type QueueShow = 'all' | 'suspect' | 'second';
/** What is to be labelled; a second opinion comes without a word of the first one. */
export type LabelItem = Omit<QueueItem, 'reason'> & { reason: QueueItem['reason'] | 'second' };
type Waiting = MethodOutput<'labels.secondQueue'>['parts'][number];
export type LastAction =
  | { kind: 'label'; partIds: number[]; classId: string }
  | { kind: 'skip'; partIds: number[] }
  | { kind: 'leave-out'; partIds: number[] }
  | { kind: 'send-back'; partIds: number[] }
  | { kind: 'second'; partIds: number[] }
  | null;

/** A part to be labelled blind: nothing of it says what a model or a person takes it for. */
const blindItem = ({ partId, at, imageSha, width, height }: Waiting): LabelItem => ({
  part: {
    id: partId,
    stationId: '',
    seq: 0,
    at,
    imageSha,
    width,
    height,
    judgement: {
      verdict: 'unsure',
      unsureReason: null,
      classId: null,
      secondClassId: null,
      confidence: 0,
      margin: 0,
      limit: 0,
      novelty: 0,
      noveltyLimit: 0,
      tile: null,
      modelId: null,
      latencyMs: 0,
      errorCode: null,
    },
    notes: [],
    label: null,
  },
  reason: 'second',
  usefulness: 0,
  groupId: null,
  groupSize: 1,
  suggestedClassId: null,
  doubt: null,
});

/** The labelling queue and what is done with it. Labels are sent one after the other, in the order of the key presses. */
export class LabelState {
  readonly #app: AppState;
  /** The whole queue, most useful first. */
  all = $state.raw<QueueItem[]>([]);
  show = $state<QueueShow>('all');
  /** Labelled parts that wait for a second person: this one. */
  waiting = $state.raw<Waiting[]>([]);
  waitingTotal = $state(0);
  agreement = $state.raw<MethodOutput<'labels.agreement'> | null>(null);
  /** What of it is shown. */
  items = $derived.by((): LabelItem[] => {
    if (this.show === 'second') return this.waiting.map(blindItem);
    return this.show === 'all' ? this.all : this.all.filter(({ reason }) => reason === 'suspect');
  });
  /** Parts of which this person is not to see the first label: a second opinion on them is still to come. */
  blind = $derived.by(() => new Set(this.show === 'second' ? this.waiting.map(({ partId }) => partId) : []));
  loaded = $state(false);
  total = $state(0);
  currentId = $state<number | null>(null);
  summary = $state.raw<MethodOutput<'labels.summary'> | null>(null);
  last = $state.raw<LastAction>(null);
  boxes = $state.raw<readonly Region[]>([]);
  drawing = $state(false);
  look = $state.raw<Look>(wholePicture);
  levels = $state.raw<Levels>(asTaken);
  contrasting = $state(false);
  comparing = $state(false);
  /** Class that the user compares with; null: what the part is most likely to be. */
  compareChoice = $state<string | null>(null);
  readonly heat: Heat;
  /** What can be taken back, newest first; null: not asked for. */
  history = $state.raw<MethodOutput<'labels.history'> | null>(null);
  /** Labelled pictures that look almost the same; null: not asked for. */
  nearDuplicates = $state.raw<MethodOutput<'labels.nearDuplicates'> | null>(null);
  /** Parts that are left out of the open group; null: no group is open. */
  leftOut = $state.raw<ReadonlySet<number> | null>(null);
  /** Parts of the open group as it was opened: what a ranking adds to it later has been seen by nobody. */
  #opened = $state.raw<ReadonlySet<number>>(new Set());
  /** What became of the last second opinion; null: none was given. */
  answer = $state.raw<MethodOutput<'labels.second'> | null>(null);
  /** Counts what was done here with labels: lists of what is labelled are fetched again. */
  revision = $state(0);
  /** When labels were made in this session, ms. */
  times = $state.raw<number[]>([]);

  index = $derived(this.items.findIndex(({ part }) => part.id === this.currentId));
  current = $derived(this.items[this.index] ?? null);
  group = $derived.by(() => {
    const { current } = this;
    if (this.leftOut !== null) return this.#waitingOf(this.#opened);
    if (!current || current.groupId === null || current.groupSize < 2) return [];
    return this.items.filter(({ groupId }) => groupId === current.groupId);
  });
  keys = $derived.by(() => keyOfClasses(this.#app.classes));
  compareWith = $derived(
    this.compareChoice ??
      this.current?.suggestedClassId ??
      this.current?.part.judgement.classId ??
      this.keys[0]?.defectClass.id ??
      null,
  );
  suspects = $derived(this.all.filter(({ reason }) => reason === 'suspect').length);
  chosen = $derived.by(() => {
    const { leftOut } = this;
    if (leftOut !== null) return this.group.filter(({ part }) => !leftOut.has(part.id));
    return this.current ? [this.current] : [];
  });
  rate = $derived(labelsPerMinute(this.times));

  readonly #stationId: string;
  #pending: Promise<unknown> = Promise.resolve();
  /** Parts taken out of the list whose call has not ended: a queue that is fetched before it still has them. */
  readonly #underWay = new Set<number>();
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(app: AppState, stationId: string) {
    this.#app = app;
    this.#stationId = stationId;
    this.heat = new Heat(app.client);
    this.currentId = Number(localStorage.getItem(this.#placeKey)) || null;
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
      this.heat.close();
      dispose();
    };
  }

  get #placeKey(): string {
    return `label-place:${this.#stationId}`;
  }

  async fetch(): Promise<void> {
    const stationId = this.#stationId;
    const [queue, summary, second, agreement] = await Promise.all([
      this.#app.client.call('queue.list', { stationId, limit: MOST_ITEMS }),
      this.#app.client.call('labels.summary', { stationId }),
      this.#app.client.call('labels.secondQueue', { stationId, limit: MOST_BLIND }),
      this.#app.client.call('labels.agreement', { stationId }),
    ]);
    const place = this.index;
    this.all = queue.items.filter(({ part }) => !this.#underWay.has(part.id));
    this.total = queue.total - (queue.items.length - this.all.length);
    this.summary = summary;
    this.waiting = second.parts.filter(({ partId }) => !this.#underWay.has(partId));
    this.waitingTotal = second.total - (second.parts.length - this.waiting.length);
    this.agreement = agreement;
    this.loaded = true;
    if (this.index < 0) this.#select(Math.max(0, Math.min(place, this.items.length - 1)));
  }

  /** Calls are made in order: an undo never overtakes the label that it takes back. @returns false after a failure */
  #queue(work: () => Promise<void>): Promise<boolean> {
    const done = this.#pending.then(async () => (await this.#app.run(() => work().then(() => true))) ?? false);
    this.#pending = done;
    return done;
  }

  /** Work that makes labels or takes them away; refused or not, what is fetched afterwards counts. @returns false after a failure */
  #change(work: () => Promise<void>): Promise<boolean> {
    return this.#queue(() => work().finally(() => (this.revision += 1)));
  }

  #select(index: number): void {
    this.currentId = this.items[index]?.part.id ?? null;
    this.leftOut = null;
    this.boxes = [];
    this.look = wholePicture;
    this.compareChoice = null;
    // Where somebody was is found again after a restart; the labels themselves are the core's.
    if (this.currentId === null) localStorage.removeItem(this.#placeKey);
    else localStorage.setItem(this.#placeKey, String(this.currentId));
  }

  move(step: number): void {
    if (this.items.length === 0) return;
    this.#select(Math.min(this.items.length - 1, Math.max(0, this.index + step)));
  }

  choose(partId: number): void {
    this.#select(this.items.findIndex(({ part }) => part.id === partId));
  }

  openGroup(): void {
    if (this.leftOut !== null) this.leftOut = null;
    else if (this.group.length > 1) {
      this.#opened = new Set(this.group.map(({ part }) => part.id));
      this.leftOut = new Set();
    }
  }

  #waitingOf(partIds: ReadonlySet<number>): LabelItem[] {
    return this.items.filter(({ part }) => partIds.has(part.id));
  }

  /** Those of the parts that nobody has labelled meanwhile. */
  stillWaiting(partIds: readonly number[]): number[] {
    return this.#waitingOf(new Set(partIds)).map(({ part }) => part.id);
  }

  toggleInGroup(partId: number): void {
    const next = new Set(this.leftOut ?? []);
    if (!next.delete(partId)) next.add(partId);
    this.leftOut = next;
  }

  /** Takes parts out of the list at once; the next one is on screen before the core has answered. */
  #remove(partIds: readonly number[]): void {
    const gone = new Set(partIds);
    for (const partId of partIds) this.#underWay.add(partId);
    const from = this.index;
    const before = this.items.slice(0, Math.max(0, from)).filter(({ part }) => gone.has(part.id)).length;
    if (this.show === 'second') {
      this.waiting = this.waiting.filter(({ partId }) => !gone.has(partId));
      this.waitingTotal = Math.max(0, this.waitingTotal - gone.size);
    } else {
      this.all = this.all.filter(({ part }) => !gone.has(part.id));
      this.total = Math.max(0, this.total - gone.size);
    }
    this.#select(Math.min(from - before, this.items.length - 1));
  }

  /** The call for parts that #remove took out of the list; refused, they come back, and nothing was done that could be told. */
  async #send<T>(partIds: readonly number[], call: () => Promise<T>): Promise<T> {
    const over = () => partIds.forEach((partId) => this.#underWay.delete(partId));
    try {
      const value = await call();
      over();
      return value;
    } catch (error) {
      over();
      this.last = null;
      // What was refused is told, not that the queue cannot be read either, as when a break of the connection has signed the person out.
      await this.fetch().catch(() => {});
      throw error;
    }
  }

  label(classId: string, partIds = this.chosen.map(({ part }) => part.id)): void {
    if (partIds.length === 0) return;
    const [only] = partIds;
    if (this.show === 'second' && only !== undefined) return this.#second(only, classId);
    const boxes = partIds.length === 1 && only === this.currentId ? [...this.boxes] : [];
    this.#remove(partIds);
    this.last = { kind: 'label', partIds, classId };
    this.times = [...this.times, ...partIds.map(() => Date.now())];
    this.#change(async () => {
      await this.#send(partIds, () => this.#app.client.call('labels.create', { partIds, classId, boxes }));
      this.summary = await this.#app.client.call('labels.summary', { stationId: this.#stationId });
    });
  }

  #second(partId: number, classId: string): void {
    this.#remove([partId]);
    this.last = { kind: 'second', partIds: [partId] };
    this.times = [...this.times, Date.now()];
    this.#queue(async () => {
      this.answer = await this.#send([partId], () => this.#app.client.call('labels.second', { partId, classId }));
      await this.fetch();
    });
  }

  skip(): void {
    const part = this.current?.part;
    if (!part) return;
    // A second opinion is nobody's duty: the part waits for whoever comes next.
    if (this.show === 'second') return this.move(1);
    this.#remove([part.id]);
    this.last = { kind: 'skip', partIds: [part.id] };
    this.#queue(async () => {
      await this.#send([part.id], () => this.#app.client.call('queue.skip', { partId: part.id }));
    });
  }

  /** The last action at this station, or all down to one of its history. */
  async undo(downTo?: number): Promise<boolean> {
    // A second opinion is given once and stands: what came before it is not meant.
    if (downTo === undefined && this.last?.kind === 'second') {
      this.#app.tell(t('label.secondStands'));
      return false;
    }
    return this.#change(async () => {
      const { partIds, left } = await this.#app.client.call('labels.undo', {
        stationId: this.#stationId,
        ...(downTo === undefined ? {} : { downTo }),
      });
      this.times = this.times.slice(0, Math.max(0, this.times.length - partIds.length));
      this.last = null;
      if (left > 0) this.#app.tell(t('label.undoLeft', { n: left }));
      await this.fetch();
      if (this.nearDuplicates !== null) await this.#lookForNearDuplicates();
      const [first] = partIds;
      if (first !== undefined && this.items.some(({ part }) => part.id === first)) this.choose(first);
    });
  }

  fetchHistory(): void {
    this.history = null;
    this.#queue(async () => {
      this.history = await this.#app.client.call('labels.history', { stationId: this.#stationId });
    });
  }

  fetchNearDuplicates(): void {
    this.nearDuplicates = null;
    this.#queue(() => this.#lookForNearDuplicates());
  }

  async #lookForNearDuplicates(): Promise<void> {
    this.nearDuplicates = await this.#app.client.call('labels.nearDuplicates', { stationId: this.#stationId });
  }

  /** Takes the labels of parts away: they teach nothing from the next update on. */
  leaveOut(partIds: number[]): void {
    this.#change(async () => {
      await this.#app.client.call('labels.leaveOut', { partIds });
      this.last = { kind: 'leave-out', partIds };
      await Promise.all([this.fetch(), this.#lookForNearDuplicates()]);
    });
  }

  /** Another label for a part that is labelled, whether it waits in the queue or not. @returns false after a refusal */
  correct(partId: number, classId: string, boxes: readonly Region[]): Promise<boolean> {
    return this.#change(async () => {
      await this.#app.client.call('labels.create', { partIds: [partId], classId, boxes: [...boxes] });
      this.last = { kind: 'label', partIds: [partId], classId };
      await this.fetch();
    });
  }

  /** Takes the label of a part away, which waits in the queue for another one. @returns false after a refusal */
  sendBack(partId: number): Promise<boolean> {
    return this.#change(async () => {
      await this.#app.client.call('labels.leaveOut', { partIds: [partId], toQueue: true });
      this.last = { kind: 'send-back', partIds: [partId] };
      await this.fetch();
    });
  }

  showOnly(show: QueueShow): void {
    this.leftOut = null;
    this.answer = null;
    this.show = show;
    if (this.index < 0) this.#select(0);
  }

  /** Makes a class and labels those of the parts with it that still wait. @throws what the core said. */
  async createClass(names: { en: string; ja: string }, partIds: readonly number[]): Promise<void> {
    const created = await this.#app.client.call('classes.create', { names });
    await this.#app.fetchClasses();
    this.label(created.id, this.stillWaiting(partIds));
  }

  /** A name that is as it was is not sent: who changes one language does not undo another person's change of the other. @throws what the core said. */
  async renameClass(classId: string, { en, ja }: { en: string; ja: string }): Promise<void> {
    const before = this.#app.classById.get(classId)?.names;
    const names = { ...(en !== before?.en && { en }), ...(ja !== before?.ja && { ja }) };
    const renamed = await this.#app.client.call('classes.rename', { classId, names });
    await this.#app.fetchClasses();
    this.#app.tell(t('rename.done', { en: renamed.names.en, ja: renamed.names.ja }));
  }
}
