// The picker anybody writes first: an object an endpoint, a list of scores, a sort. It ranks as
// llm-d's optimized baseline does, and so says what the product must choose under that configuration. It knows neither stale samples nor
// filters nor retries, and keeps no record: what EndpointPicker is compared with has less to do.

import { asBigints, NaivePrefixIndex } from "./naive-prefix-index.ts";

/** As in llm-d's optimized baseline. */
const WEIGHTS = { queue: 2, kvUsage: 2, prefix: 3, noHit: 2 };
const DESTINATIONS = 4;

export interface NaiveEndpoint {
  readonly address: string;
  readonly waiting: number;
  readonly kvUsage: number;
}

interface Ranked {
  readonly endpoint: NaiveEndpoint;
  readonly total: number;
}

export class NaivePicker {
  readonly #endpoints: NaiveEndpoint[] = [];
  readonly #index = new NaivePrefixIndex();
  /** Addresses given a cold prompt, oldest first. */
  readonly #cold = new Set<string>();

  add(endpoint: NaiveEndpoint): void {
    this.#endpoints.push(endpoint);
  }

  learn(keys: Uint32Array, address: string): void {
    const slot = this.#endpoints.findIndex((endpoint) => endpoint.address === address);
    this.#index.insert(asBigints(keys), slot);
  }

  /** Addresses in the order to try. */
  pick(keys: Uint32Array): string[] {
    const matched = new Int32Array(this.#endpoints.length);
    this.#index.match(asBigints(keys), matched);
    const isCold = matched.every((blocks) => blocks === 0);
    const coldRanks = isCold ? this.#coldRanks() : undefined;
    const depths = this.#endpoints.map((endpoint) => endpoint.waiting);
    const max = Math.max(...depths);
    const span = max - Math.min(...depths);
    const last = Math.max(1, this.#endpoints.length - 1);
    const ranked = this.#endpoints.map((endpoint, slot): Ranked => {
      const scores = {
        queue: span === 0 ? 1 : (max - endpoint.waiting) / span,
        kvUsage: 1 - endpoint.kvUsage,
        prefix: keys.length === 0 ? 0 : matched[slot]! / (keys.length / 2),
        noHit: coldRanks === undefined ? 0.5 : 1 - coldRanks.get(endpoint.address)! / last,
      };
      const total = Object.entries(scores).reduce(
        (sum, [name, score]) => sum + score * WEIGHTS[name as keyof typeof WEIGHTS],
        0,
      );
      return { endpoint, total };
    });
    ranked.sort((a, b) => b.total - a.total);
    const chosen = ranked.slice(0, DESTINATIONS).map(({ endpoint }) => endpoint.address);
    if (isCold) {
      this.#cold.delete(chosen[0]!);
      this.#cold.add(chosen[0]!);
    }
    return chosen;
  }

  /** Never given a cold prompt first, then the others, oldest first. */
  #coldRanks(): Map<string, number> {
    const unused = this.#endpoints
      .map((endpoint) => endpoint.address)
      .filter((address) => !this.#cold.has(address));
    return new Map([...unused, ...this.#cold].map((address, rank) => [address, rank]));
  }
}
