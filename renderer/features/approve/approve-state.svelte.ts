import type { Candidate, ChangedVerdict, Gate } from '../../../main/contract/domain.ts';
import type { MethodOutput } from '../../../main/contract/methods.ts';
import type { AppState } from '../../app/app-state.svelte.ts';
import { tOr } from '../../lib/i18n/language.svelte.ts';

const kindOrder: Record<ChangedVerdict['kind'], number> = { worse: 0, 'both-wrong': 1, better: 2 };

/**
 * One decision: which candidate, what of its evidence has been seen, and what the supervisor writes. What is written is about one candidate and goes with it; who
 * signs has seen what was on the screen under that name.
 */
export class ApproveState {
  /** Whoever is shown stays, also when a newer candidate comes. */
  pickedId = $state<string | null>(null);
  /** Image hashes of changed verdicts that were on the screen, by candidate and user. */
  seen = $state.raw<ReadonlySet<string>>(new Set());
  /** Index of the changed verdict that is open; null: none. */
  viewing = $state<number | null>(null);
  password = $state('');
  /** Index of the chosen meaning. */
  meaning = $state(0);
  waiver = $state('');
  failure = $state.raw<unknown>(null);
  busy = $state(false);
  rejecting = $state(false);
  /** Approved here just now: shown until it is activated or put off. */
  approvedId = $state<string | null>(null);

  candidate: Candidate | null;
  approved: Candidate | null;
  changed: ChangedVerdict[];
  /** Of the evidence, and of the golden set where the station has one. */
  gates: Gate[];
  /** The candidate was not tried yet on the golden set as it is now. */
  goldenDue: boolean;
  failed: string[];
  open: string[];
  unseen: number;

  readonly #app: AppState;
  #golden = $state.raw<MethodOutput<'golden.gates'> | null>(null);

  constructor(app: AppState) {
    this.#app = app;
    this.candidate = $derived(app.submitted.find(({ id }) => id === this.pickedId) ?? app.submitted[0] ?? null);
    this.approved = $derived(
      app.candidates.find(({ id, state }) => state === 'approved' && (id === this.approvedId || !this.candidate)) ??
        null,
    );
    this.changed = $derived(
      [...(this.candidate?.evidence.changed ?? [])].sort((a, b) => kindOrder[a.kind] - kindOrder[b.kind]),
    );
    this.gates = $derived([...(this.candidate?.evidence.gates ?? []), ...(this.#golden?.gates ?? [])]);
    this.goldenDue = $derived(this.#golden?.due ?? false);
    this.failed = $derived(this.#names('fail'));
    this.open = $derived(this.#names('not-enough-evidence'));
    this.unseen = $derived(this.changed.filter(({ imageSha }) => !this.isSeen(imageSha)).length);
    const candidateId = $derived(this.candidate?.id ?? null);
    $effect.pre(() => {
      this.pickedId = candidateId;
      this.#golden = null;
      this.waiver = '';
      this.viewing = null;
      this.rejecting = false;
      this.failure = null;
    });
    const triedAt = $derived(this.candidate?.golden?.at);
    $effect(() => {
      void triedAt;
      // Again after a re-connection, and when a job has ended that tries the candidate or changes the set.
      if (candidateId === null || app.generation < 0 || app.jobOf('golden') !== null) return;
      const asked = candidateId;
      void app.run(async () => {
        const found = await app.client.call('golden.gates', { candidateId: asked });
        if (asked === candidateId) this.#golden = found;
      });
    });
    const userId = $derived(app.user?.id ?? null);
    $effect.pre(() => {
      void userId;
      this.password = '';
    });
  }

  #names(outcome: Gate['outcome']): string[] {
    return this.gates.filter((gate) => gate.outcome === outcome).map(({ name }) => tOr(`gate.${name}`, name));
  }

  #mark(imageSha: string): string {
    return `${this.candidate?.id} ${this.#app.user?.id} ${imageSha}`;
  }

  isSeen(imageSha: string): boolean {
    return this.seen.has(this.#mark(imageSha));
  }

  view(index: number | null): void {
    this.viewing = index;
  }

  /** Its picture is on the screen, or is found to be no longer kept. */
  markSeen(imageSha: string): void {
    if (!this.isSeen(imageSha)) this.seen = new Set(this.seen).add(this.#mark(imageSha));
  }

  viewNextUnseen(): void {
    const next = this.changed.findIndex(({ imageSha }) => !this.isSeen(imageSha));
    if (next >= 0) this.view(next);
    else this.viewing = null;
  }

  /** @param meaning the words that are signed, in the language of the window. */
  async approve(meaning: string): Promise<void> {
    const { candidate } = this;
    if (!candidate) return;
    await this.#decide(async () => {
      await this.#app.client.call('candidates.approve', {
        candidateId: candidate.id,
        password: this.password,
        meaning,
        waiver: this.open.length === 0 || this.waiver.trim() === '' ? null : this.waiver.trim(),
        seenChanged: this.changed.filter(({ imageSha }) => this.isSeen(imageSha)).map(({ imageSha }) => imageSha),
      });
      this.approvedId = candidate.id;
    });
  }

  async reject(reason: string): Promise<void> {
    const { candidate } = this;
    if (!candidate) return;
    await this.#decide(async () => {
      await this.#app.client.call('candidates.reject', { candidateId: candidate.id, reason });
      this.rejecting = false;
    });
  }

  async #decide(work: () => Promise<void>): Promise<void> {
    this.busy = true;
    this.failure = null;
    try {
      await work();
      await this.#app.fetchCandidates();
    } catch (error) {
      this.failure = error;
    } finally {
      this.password = '';
      this.busy = false;
    }
  }
}
