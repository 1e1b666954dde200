// Where an isolate would have sent a request that it asks the pool's object about.
//
// Among many idle endpoints it makes no difference which one gets a cold prompt, but to isolates: each sends to
// its own lane what could go anywhere (see lanes.ts), and counts what it has asked about where it proposed it. An object
// that puts it elsewhere puts it in the way of another isolate, which cannot know before its next snapshot.
// So the object takes the proposal where nothing speaks for another endpoint: it has no prompt to compute by what the
// object knows, runs hardly more requests than others and has as much memory, and nobody holds much more of the prompt.
// Otherwise it picks among all.
// docs/decisions/061-proposals.md has what that is worth.

import { busySteps, isUsable, type LoadView, MORE_BLOCKS } from "./idle.ts";

/** Requests that it may run more than others: some 10 ms each, by latency-cost-scorer, and no more than asking takes. */
const MORE_RUNNING = 5;
/** KV memory in use that it may have more than others; up to the other that costs next to nothing. */
const MORE_USAGE = 0.1;
const ROOMY = 0.5;

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
  if (!isIdle(view, slot) || !isAsGood(view, slot)) return false;
  const matchedBlocks = match();
  const most = matchedBlocks[slot]! + MORE_BLOCKS;
  for (let other = 0; other < view.columns.slotCount; other++)
    spared[other] = matchedBlocks[other]! > most ? 0 : 1;
  spared[slot] = 0;
  return true;
}

/** Whether no other endpoint is much better off. */
function isAsGood(view: LoadView, slot: number): boolean {
  const { isPresent, runningRequests, kvUsage, slotCount } = view.columns;
  let [running, usage] = [Infinity, Infinity];
  for (let other = 0; other < slotCount; other++) {
    if (isPresent[other] !== 1 || !isUsable(view, other)) continue;
    running = Math.min(running, runningRequests[other]!);
    usage = Math.min(usage, kvUsage[other]!);
  }
  return (
    runningRequests[slot]! <= running + MORE_RUNNING &&
    kvUsage[slot]! <= Math.max(ROOMY, usage + MORE_USAGE)
  );
}

function isIdle(view: LoadView, slot: number): boolean {
  const { isPresent, queueDepth } = view.columns;
  if (isPresent[slot] !== 1 || queueDepth[slot]! > 0) return false;
  return busySteps(view, slot) === 0 && isUsable(view, slot);
}
