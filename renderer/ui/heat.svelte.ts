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
  #call: AbortController | null = null;

  constructor(client: CoreClient) {
    this.#client = client;
  }

  /** An earlier request that is still under way is dropped. */
  async fetch(part: Part | null): Promise<void> {
    this.#call?.abort();
    this.grid = null;
    this.missing = false;
    if (!part || !this.wanted) return;
    const call = new AbortController();
    this.#call = call;
    try {
      const grid = await this.#client.call('parts.heatMap', { partId: part.id }, { signal: call.signal });
      if (this.#call === call) this.grid = grid;
    } catch (error) {
      // Many parts have none (no model, an error, a picture that is no longer kept): said in place, not as a failure.
      if (!isAppError(error, 'CANCELLED')) this.missing = true;
    }
  }

  close(): void {
    this.#call?.abort();
  }
}
