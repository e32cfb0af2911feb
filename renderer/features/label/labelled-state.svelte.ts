import type { Part } from '../../../main/contract/domain.ts';
import type { MethodOutput } from '../../../main/contract/methods.ts';
import type { AppState } from '../../app/app-state.svelte.ts';
import type { LabelState } from './label-state.svelte.ts';

/** As many labels as the contract gives at once. */
const PAGE = 10_000;
/** Of more, those of one class are seen. */
export const MOST_LABELLED = 200_000;

export type LabelledPart = MethodOutput<'labels.list'>[number];

/** Labels of a station and what is corrected among them. Calls go out through the bench: an undo never overtakes what it takes back. */
export class LabelledState {
  readonly #app: AppState;
  readonly #label: LabelState;
  readonly #stationId: string;
  /** null: not fetched yet. */
  rows = $state.raw<LabelledPart[] | null>(null);
  /** null: all classes. */
  classId = $state<string | null>(null);
  /** The number of a part, or how it begins. */
  find = $state('');
  /** The part that is wanted; null: the first. */
  partId = $state<number | null>(null);
  /** The one that is looked at, with all that is known of it. */
  part = $state.raw<Part | null>(null);
  /** Something was done here that can be taken back. */
  changed = $state(false);

  #visible = $derived.by(() => (this.rows ?? []).filter(({ partId }) => !this.#label.blind.has(partId)));
  shown = $derived.by(() => {
    const wanted = this.find.normalize('NFKC').replace(/\D/g, '');
    return this.#visible.filter(({ partId }) => String(partId).startsWith(wanted));
  });
  index = $derived(this.shown.findIndex(({ partId }) => partId === this.partId));
  /** The part that is wanted is not among the labels, as where another window took it away: no other one stands in for it. */
  missing = $derived(
    this.rows !== null && this.partId !== null && !this.#visible.some(({ partId }) => partId === this.partId),
  );
  current = $derived(this.missing ? null : (this.shown[this.index] ?? this.shown[0] ?? null));

  constructor(app: AppState, label: LabelState, stationId: string, from: { classId: string; partId: number } | null) {
    this.#app = app;
    this.#label = label;
    this.#stationId = stationId;
    this.classId = from?.classId ?? null;
    this.partId = from?.partId ?? null;
  }

  /** @param classId null: all */
  showClass(classId: string | null): void {
    this.classId = classId;
    this.partId = null;
    // Of another class nothing is shown or corrected under this one's name meanwhile.
    this.rows = null;
  }

  async fetch(): Promise<void> {
    const { classId } = this;
    await this.#app.run(async () => {
      const rows: LabelledPart[] = [];
      for (let page = PAGE; page === PAGE && rows.length < MOST_LABELLED;) {
        const last = rows.at(-1);
        const next = await this.#app.client.call('labels.list', {
          stationId: this.#stationId,
          limit: PAGE,
          ...(classId !== null && { classId }),
          ...(last !== undefined && { before: { at: last.at, partId: last.partId } }),
        });
        // Another class is shown by now, and fetched by another call.
        if (classId !== this.classId) return;
        rows.push(...next);
        page = next.length;
      }
      this.rows = rows;
    });
  }

  /** @param partId null: none is looked at */
  async look(partId: number | null): Promise<void> {
    if (partId === null) {
      this.part = null;
      return;
    }
    await this.#app.run(async () => {
      const part = await this.#app.client.call('parts.get', { partId });
      if (partId === this.current?.partId) this.part = part;
    });
  }

  move(step: number): void {
    const from = this.missing ? -1 : Math.max(0, this.index);
    const at = Math.min(this.shown.length - 1, Math.max(0, from + step));
    this.partId = this.shown[at]?.partId ?? null;
  }

  /** A box says where the defect is: another class of defect has it at the same place, a good part has none. */
  correct(classId: string): void {
    const { current } = this;
    if (current === null || current.classId === classId) return;
    const boxes = this.#app.classById.get(classId)?.isOk === true ? [] : current.boxes;
    this.#after(this.#label.correct(current.partId, classId, boxes), true);
  }

  sendBack(): void {
    const { current } = this;
    if (current !== null) this.#after(this.#label.sendBack(current.partId), true);
  }

  undo(): void {
    this.changed = false;
    this.#after(this.#label.undo(), false);
  }

  /** @param action whether it was done @param changes it can be taken back */
  #after(action: Promise<boolean>, changes: boolean): void {
    // Where the part leaves the list, the next one comes into its place.
    const at = Math.max(0, this.index);
    const partId = this.current?.partId ?? null;
    void action.then(async (done) => {
      // After a refusal Undo would take back something else.
      if (done && changes) this.changed = true;
      await this.fetch();
      const stays = this.shown.some((row) => row.partId === partId);
      this.partId = stays ? partId : (this.shown[Math.min(at, this.shown.length - 1)]?.partId ?? null);
      await this.look(this.current?.partId ?? null);
    });
  }
}
