// Blocks that sources announced or removed and that their accounts did not follow, by why.

import type { RekeyerCounts } from "../../scheduler/kv/residency/rekeyer-counts.ts";

/** Metric labels. */
const REASONS: Readonly<Record<keyof RekeyerCounts, string>> = {
  orphaned: "unknown-parent",
  unknown: "unknown-block",
  otherTier: "other-tier",
  otherGroup: "other-group",
  uneven: "uneven",
  conflicting: "conflicting",
  leftOut: "no-room",
  unplaced: "media-without-place",
};

type Counts = Readonly<RekeyerCounts> | undefined;

export class UnfollowedBlocks {
  /** Of sources that are gone. */
  readonly #gone = new Map<string, number>();
  /** Of storage that all endpoints share. */
  shared = 0;
  /** Of cache groups that are not indexed, of sources that have no account yet. */
  ofOtherGroups = 0;

  /** A source goes, and its counts with it. */
  keep(counts: Counts): void {
    add(this.#gone, counts);
  }

  /** With those of the sources that there are. */
  sum(sources: Iterable<Counts>): ReadonlyMap<string, number> {
    const sum = new Map(this.#gone).set("shared-storage", this.shared);
    sum.set(REASONS.otherGroup, (sum.get(REASONS.otherGroup) ?? 0) + this.ofOtherGroups);
    for (const counts of sources) add(sum, counts);
    return sum;
  }
}

function add(sum: Map<string, number>, counts: Counts): void {
  if (counts === undefined) return;
  for (const [name, reason] of Object.entries(REASONS)) {
    sum.set(reason, (sum.get(reason) ?? 0) + counts[name as keyof RekeyerCounts]);
  }
}
