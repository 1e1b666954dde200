// Up to which saturation of the pool each band is served.
//
// The policy sees the bands that are declared, also while nothing waits in them: holding low priorities
// back is for those of a high one that are still to come. A band that came by itself counts only while
// something waits in it.

import { BANDS_MAX } from "./bands.ts";
import type { UsageLimitPolicy } from "./contracts.ts";
import type { PriorityBand } from "./priority-band.ts";

interface GatedBand {
  /** undefined where nothing waits. */
  readonly band: PriorityBand | undefined;
  readonly ceiling: number;
}

export class UsageGate {
  readonly #policy: UsageLimitPolicy;
  readonly #ceilings = new Float64Array(BANDS_MAX);
  /** Reused; those of the last look. */
  readonly #priorities: number[] = [];

  constructor(policy: UsageLimitPolicy) {
    this.#policy = policy;
  }

  /** The highest band in which something waits, and its ceiling. `descending` by priority. */
  first(descending: readonly PriorityBand[], saturation: number): GatedBand {
    const priorities = this.#priorities;
    let first: PriorityBand | undefined;
    let place = 0;
    priorities.length = 0;
    for (const band of descending) {
      if (!band.isDeclared && !band.isWaiting) continue;
      if (first === undefined && band.isWaiting) [first, place] = [band, priorities.length];
      priorities.push(band.priority);
    }
    this.#policy.ceilings(saturation, priorities, this.#ceilings);
    return { band: first, ceiling: this.#ceilings[place]! };
  }

  /** The lowest ceiling there is: what is below it may be let through whatever its band. */
  lowest(descending: readonly PriorityBand[], saturation: number): number {
    this.first(descending, saturation);
    let lowest = Infinity;
    for (let i = 0; i < this.#priorities.length; i++) lowest = Math.min(lowest, this.#ceilings[i]!);
    return lowest;
  }

  /** At the last look; undefined for a band that did not count. */
  ceilingOf({ priority }: PriorityBand): number | undefined {
    const place = this.#priorities.indexOf(priority);
    return place < 0 ? undefined : this.#ceilings[place];
  }
}
