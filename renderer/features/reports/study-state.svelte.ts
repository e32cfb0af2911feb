import type { Study, StudyReport } from '../../../main/contract/study.ts';
import type { MethodOutput } from '../../../main/contract/methods.ts';
import type { AppState } from '../../app/app-state.svelte.ts';

type Due = MethodOutput<'studies.next'>;

/** The acceptance studies of a station: which is looked at, and the caller's part in it. */
export class StudyState {
  studies = $state.raw<Study[] | null>(null);
  chosenId = $state<string | null>(null);
  report = $state.raw<StudyReport | null>(null);
  /** What the caller judges next; null: not at it. */
  due = $state.raw<Due | null>(null);
  busy = $state(false);
  chosen = $derived((this.studies ?? []).find(({ id }) => id === this.chosenId) ?? null);

  readonly #app: AppState;
  readonly #stationId: string;

  constructor(app: AppState, stationId: string) {
    this.#app = app;
    this.#stationId = stationId;
  }

  async fetch(): Promise<void> {
    await this.#app.run(async () => {
      this.studies = await this.#app.client.call('studies.list', { stationId: this.#stationId });
      const kept = this.studies.find(({ id }) => id === this.chosenId);
      if (!kept) await this.choose(this.studies[0]?.id ?? null);
      // Another window has closed it.
      else if (kept.closedAt !== null && this.report === null) await this.choose(kept.id);
    });
  }

  async choose(studyId: string | null): Promise<void> {
    this.chosenId = studyId;
    this.due = null;
    this.report = null;
    const study = this.chosen;
    if (study === null || study.closedAt === null) return;
    const report = await this.#app.run(() => this.#app.client.call('studies.report', { studyId: study.id }));
    if (report && this.chosenId === study.id) this.report = report;
  }

  /** @throws what the core said, for the form to show. */
  async create(input: { name: string; parts: number; rounds: number }): Promise<void> {
    const made = await this.#app.client.call('studies.create', { stationId: this.#stationId, ...input });
    await this.fetch();
    await this.choose(made.id);
  }

  async begin(): Promise<void> {
    const study = this.chosen;
    if (study) await this.#step(() => this.#next(study.id));
  }

  #next(studyId: string): Promise<Due> {
    return this.#app.client.call('studies.next', { studyId });
  }

  async rate(good: boolean): Promise<void> {
    const { due, chosen } = this;
    if (!chosen || !due?.part) return;
    const { partId } = due.part;
    await this.#step(() =>
      this.#app.client.call('studies.rate', { studyId: chosen.id, partId, round: due.round, good }),
    );
  }

  async takeBack(): Promise<void> {
    const study = this.chosen;
    if (study && this.due) await this.#step(() => this.#app.client.call('studies.takeBack', { studyId: study.id }));
  }

  /** One at a time: a key that is held down judges no part that was not seen. */
  async #step(call: () => Promise<Due>): Promise<void> {
    if (this.busy) return;
    this.busy = true;
    try {
      if (!(await this.#take(call))) await this.#catchUp();
    } finally {
      this.busy = false;
    }
  }

  /** @returns false after a failure */
  async #take(call: () => Promise<Due>): Promise<boolean> {
    const userId = this.#app.user?.id;
    const due = await this.#app.run(call);
    // Somebody else has signed in meanwhile: it is not for them.
    if (due && userId === this.#app.user?.id) this.due = due;
    return due !== undefined;
  }

  /** Another window of the same person went on, or the study was closed there. */
  async #catchUp(): Promise<void> {
    await this.fetch();
    const study = this.chosen;
    if (study && this.due) await this.#take(() => this.#next(study.id));
  }

  async leave(): Promise<void> {
    this.due = null;
    await this.fetch();
  }

  async close(): Promise<void> {
    const study = this.chosen;
    if (!study) return;
    await this.#app.run(() => this.#app.client.call('studies.close', { studyId: study.id }));
    await this.leave();
  }
}
