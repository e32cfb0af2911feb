import type { Part } from '../../main/contract/domain.ts';
import { isAppError } from '../../main/contract/errors.ts';
import type { CoreClient } from '../lib/connection.ts';
import type { HeatGrid } from './HeatLayer.svelte';

/** The heat map over the part that is looked at, while it is wanted. */
export class Heat {
  wanted = $state(false);
  grid = $state.raw<HeatGrid | null>(null);
  missing = $state(false);
  readonly #client: CoreClient;
  /** What is looked at now; null: nothing, or no map is wanted. */
  #partId: number | null = null;
  #asking = false;
  readonly #closing = new AbortController();

  constructor(client: CoreClient) {
    this.#client = client;
  }

  /** One map is asked for at a time: on a fast line the parts in between are let go, and none of them keeps the trainer busy. */
  async fetch(part: Part | null): Promise<void> {
    this.grid = null;
    this.missing = false;
    this.#partId = this.wanted ? (part?.id ?? null) : null;
    if (this.#asking) return;
    this.#asking = true;
    while (this.#partId !== null) {
      const partId = this.#partId;
      const grid = await this.#ask(partId);
      if (partId !== this.#partId) continue;
      this.grid = grid;
      this.missing = grid === null;
      break;
    }
    this.#asking = false;
  }

  /** @returns null where there is none: no model, an error, a picture that is no longer kept. Said in place, not as a failure. */
  async #ask(partId: number): Promise<HeatGrid | null> {
    try {
      return await this.#client.call('parts.heatMap', { partId }, { signal: this.#closing.signal });
    } catch (error) {
      // Nobody looks any more.
      if (isAppError(error, 'CANCELLED')) this.#partId = null;
      return null;
    }
  }

  close(): void {
    this.#partId = null;
    this.#closing.abort();
  }
}
