// The memory of what waits, and who gives way where it is short.

import type { WaitingPick } from "./waiting-pick.ts";

export class HeldBytes {
  readonly #max: number;
  #total = 0;

  constructor(max: number) {
    this.#max = max;
  }

  get total(): number {
    return this.#total;
  }

  hasRoomFor(pick: WaitingPick): boolean {
    return this.#total + pick.measure() <= this.#max;
  }

  add(pick: WaitingPick): void {
    pick.heldBytes = pick.measure();
    this.#total += pick.heldBytes;
  }

  /** Of one that was never added it changes nothing. */
  remove(pick: WaitingPick): void {
    this.#total -= pick.heldBytes;
    pick.heldBytes = 0;
  }
}

/** Of the lowest priority below the pick's who came last, of `picks` in the order they came. O(picks). */
export function findDisplaceable(
  picks: Iterable<WaitingPick>,
  { queued }: WaitingPick,
): WaitingPick | undefined {
  let found: WaitingPick | undefined;
  for (const pick of picks) {
    if (pick.queued.priority >= queued.priority || pick.heldBytes === 0) continue;
    if (found === undefined || pick.queued.priority <= found.queued.priority) found = pick;
  }
  return found;
}
