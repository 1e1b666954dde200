// Where an isolate would have sent a request that it asks the pool's object about.
//
// Among many idle endpoints it makes no difference which one gets a cold prompt, but to isolates: each sends to
// its own lane what could go anywhere (see lanes.ts), and counts what it has asked about where it proposed it. An object
// that puts it elsewhere puts it in the way of another isolate, which cannot know before its next snapshot.
// So the object takes the proposal where nothing speaks for another endpoint: it has no prompt to compute by what the
// object knows, runs hardly more requests than others and has as much memory, and nobody holds much more of the prompt.
// Otherwise it picks among all.
// docs/decisions/061-proposals.md has what that is worth.
//
// One that has been sent there already costs a round trip more to move, and what the engine has computed: it stays
// where that is not worth it. docs/decisions/068-sent-and-asked-meanwhile.md has the figures.

import { busyMs, BUSY_STEP_MS, isAsRoomy, isUsable, type LoadView, MORE_BLOCKS } from "./idle.ts";

/** What another endpoint may be better by, and the proposal is taken all the same. */
export interface Slack {
  /** Prompts that are to be computed there before. */
  readonly busyMs: number;
  /** Requests that wait there, or were sent there and no sample shows them. */
  readonly waiting: number;
  /** Requests that run there, more than at others: some 10 ms each, by latency-cost-scorer. */
  readonly running: number;
}

/** No more than asking takes. */
export const PROPOSED_SLACK: Slack = { busyMs: 0, waiting: 0, running: 5 };
/** Of what has been sent: less is no reason to compute a prompt twice. A request that no sample shows is in `busyMs` as well. */
const SENT_WAITING = 1;
const SENT_RUNNING = 20;
/** A round trip that is longer, or told so, makes no endpoint better. */
const SENT_BUSY_MS_MAX = 250;

/** Of a request that has been sent, by an isolate so far away. */
export function sentSlack(rttMs: number): Slack {
  return {
    busyMs: Math.min(SENT_BUSY_MS_MAX, Math.max(0, rttMs || 0)),
    waiting: SENT_WAITING,
    running: SENT_RUNNING,
  };
}

/**
 * Writes 1 into `spared` for each slot that the pick is to spare in favour of `slot`, 0 for it and for those that hold
 * more; see PickInput. `match` gives what each endpoint holds of the prompt, in blocks. False where nothing is
 * written, for the proposal is no good. O(endpoints).
 */
export function spareForProposed(
  view: LoadView,
  slot: number,
  match: () => Int32Array,
  { spared, slack }: { readonly spared: Uint8Array; readonly slack: Slack },
): boolean {
  if (!isIdle(view, slot, slack) || !isAsGood(view, slot, slack)) return false;
  const matchedBlocks = match();
  const most = matchedBlocks[slot]! + MORE_BLOCKS;
  for (let other = 0; other < view.columns.slotCount; other++)
    spared[other] = matchedBlocks[other]! > most ? 0 : 1;
  spared[slot] = 0;
  return true;
}

/** Whether no other endpoint is much better off. */
function isAsGood(view: LoadView, slot: number, slack: Slack): boolean {
  const { isPresent, runningRequests, kvUsage, slotCount } = view.columns;
  let [running, usage] = [Infinity, Infinity];
  for (let other = 0; other < slotCount; other++) {
    if (isPresent[other] !== 1 || !isUsable(view, other)) continue;
    running = Math.min(running, runningRequests[other]!);
    usage = Math.min(usage, kvUsage[other]!);
  }
  return runningRequests[slot]! <= running + slack.running && isAsRoomy(view, slot, usage);
}

function isIdle(view: LoadView, slot: number, slack: Slack): boolean {
  const { isPresent, queueDepth } = view.columns;
  if (isPresent[slot] !== 1 || queueDepth[slot]! > slack.waiting) return false;
  return busyMs(view, slot) < BUSY_STEP_MS + slack.busyMs && isUsable(view, slot);
}
