// Where an isolate would have sent a request that it asks the pool's object about.
//
// Among many idle endpoints it makes no difference which one gets a cold prompt, but to isolates: each sends to
// its own lane what could go anywhere (see lanes.ts), and counts what it has asked about where it proposed it. An object
// that puts it elsewhere puts it in the way of another isolate, which cannot know before its next snapshot.
// So the object takes the proposal where nothing speaks for another endpoint: it is idle by what the object
// knows, and nobody holds much more of the prompt. Otherwise it picks among all.
// docs/decisions/061-proposals.md has what that is worth.

import { busySteps, isUsable, type LoadView, MORE_BLOCKS } from "./idle.ts";

/**
 * Writes 1 into `spared` for each slot that the pick is to spare in favour of `slot`, 0 for it and for those that hold
 * more; see PickInput. `match` gives what each endpoint holds of the prompt, in blocks. False where nothing is
 * written, for the proposal is no good. O(endpoints).
 */
export function spareForProposed(
  view: LoadView,
  slot: number,
  match: () => Int32Array,
  spared: Uint8Array,
): boolean {
  if (!isIdle(view, slot)) return false;
  const matchedBlocks = match();
  const most = matchedBlocks[slot]! + MORE_BLOCKS;
  for (let other = 0; other < view.columns.slotCount; other++)
    spared[other] = matchedBlocks[other]! > most ? 0 : 1;
  spared[slot] = 0;
  return true;
}

function isIdle(view: LoadView, slot: number): boolean {
  const { isPresent, queueDepth } = view.columns;
  if (isPresent[slot] !== 1 || queueDepth[slot]! > 0) return false;
  return busySteps(view, slot) === 0 && isUsable(view, slot);
}
