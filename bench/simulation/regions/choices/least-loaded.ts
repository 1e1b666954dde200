// least loaded: the pool with the fewest requests in flight for each endpoint, by its summary and by
// what this isolate has sent there since. The nearest of equals.
//
// Without its own count every isolate would send everything to one pool until it reads again, which nobody
// should be compared with.

import type { HeardPool, PoolChoiceContext, PoolChoiceDefinition } from "../choice.ts";
import { loadOf, ranked } from "./ranking.ts";

/** Makes the nearer one win among equals, and nothing else. */
const NEARNESS = 1e-6;

export class InFlight {
  readonly #context: PoolChoiceContext;
  readonly #sentSince: Int32Array;
  pools: readonly (HeardPool | undefined)[] = [];

  constructor(context: PoolChoiceContext) {
    this.#context = context;
    this.#sentSince = new Int32Array(context.rttMs.length);
  }

  read(pools: readonly (HeardPool | undefined)[]): void {
    this.pools = pools;
    this.#sentSince.fill(0);
  }

  sent(pool: number): void {
    this.#sentSince[pool]! += 1;
  }

  /** Pools, the one with the fewest requests for each endpoint first; unknown ones last. */
  order(): number[] {
    const { rttMs } = this.#context;
    return ranked(rttMs.length, (pool) => {
      const load = loadOf(this.pools[pool]);
      if (load === undefined) return 1e9 + rttMs[pool]!;
      const usable = this.pools[pool]!.heard.summary.membership!.usable;
      const requests = load.inFlightRequests + this.#sentSince[pool]!;
      return requests / usable + NEARNESS * rttMs[pool]!;
    });
  }
}

export const leastLoaded: PoolChoiceDefinition = {
  name: "least loaded",
  about: "Fewest requests in flight for each endpoint, by summaries and the isolate's own since.",
  create(context) {
    const inFlight = new InFlight(context);
    return {
      choose() {
        const order = inFlight.order();
        inFlight.sent(order[0]!);
        return order;
      },
      read: (pools) => inFlight.read(pools),
    };
  },
};
