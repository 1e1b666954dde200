// Which endpoints each shard sends first what could go anywhere, so that shards do not meet there.
//
//   endpoints in the order of their ids    0   1   2   …          lane of shard i: every count-th, from the i-th
//
// A shard knows at once what it has sent itself, and hears of others' work a quarter of a second later, when an idle
// endpoint has been filled by all of them. A conversation that began in a lane goes on there, for its keys belong to the
// shard, so most of what runs in a lane is its shard's own. A pick chooses among
//
//   its lane + those that hold more of the prompt than any endpoint of the lane that is as well off as others
//
// and among all where no endpoint of the lane is: a lane is no share. Who has more requests than others spills over,
// and lanes that overlap for a moment, while objects hear of a new endpoint, do no harm.
// docs/decisions/066-lanes-of-shards.md has what it is worth.

import { busySteps, isAsRoomy, isUsable, type LoadView } from "../edge/idle.ts";
import { endpointAgeMs } from "../endpoint-age.ts";
import { ENDPOINTS_MAX, type EndpointTable } from "../model/endpoint-table.ts";

/** Prompts sent to an endpoint that is as well off as an idle one, in steps of 25 ms. */
const BUSY_STEPS_MAX = 4;
/** Requests that it may run more than others: some 10 ms each, by latency-cost-scorer. */
const MORE_RUNNING = 8;
/** Requests that may wait there more than at others, with those that no sample shows yet. */
const MORE_WAITING = 8;

/** An endpoint that came so lately is young. */
const YOUNG_MS = 10_000;

/** What all candidates are held against. */
interface Least {
  /** Endpoints that have just come are held against nobody: they run nothing yet, and get their share by and by. */
  readonly isForYoung: boolean;
  readonly running: number;
  readonly waiting: number;
  readonly usage: number;
}

/** Of one shard. */
export class ShardLane {
  readonly #isIn = new Uint8Array(ENDPOINTS_MAX);
  #index = 0;
  #count = 0;
  #changes = -1;

  /**
   * By slot of the table, which is always the same one: 1 for those in the lane of shard `index` of `count`. The same
   * endpoints in all objects that know the same ones. O(1), but O(endpoints × log) where they have changed.
   */
  of(
    table: Pick<EndpointTable, "changes" | "endpoint" | "slots">,
    { index, count }: { readonly index: number; readonly count: number },
  ): Uint8Array {
    const isSame = index === this.#index && count === this.#count;
    if (isSame && table.changes === this.#changes) return this.#isIn;
    this.#index = index;
    this.#count = count;
    this.#changes = table.changes;
    this.#isIn.fill(0);
    const idOf = (slot: number) => table.endpoint(slot)!.id;
    const slots = [...table.slots()].sort((one, other) => (idOf(one) < idOf(other) ? -1 : 1));
    for (let place = index; place < slots.length; place += count) this.#isIn[slots[place]!] = 1;
    return this.#isIn;
  }
}

/**
 * Writes 1 into `spared` for each slot that a pick leaves to other shards, 0 for the rest; see PickInput. `match` gives
 * what each endpoint holds of the prompt, in blocks. False where all are kept: then `spared` says nothing.
 * O(endpoints).
 */
// Hot path of a pool of several objects.
export function spareForLane(
  view: LoadView,
  isInLane: Uint8Array,
  match: () => Int32Array,
  spared: Uint8Array,
): boolean {
  const { slotCount, isPresent } = view.columns;
  const least = leastOf(view);
  let matchedBlocks: Int32Array | undefined;
  let most = -1;
  for (let slot = 0; slot < slotCount; slot++) {
    if (isInLane[slot] !== 1 || isPresent[slot] !== 1 || !isAsGood(view, slot, least)) continue;
    matchedBlocks ??= match();
    most = Math.max(most, matchedBlocks[slot]!);
  }
  if (matchedBlocks === undefined) return false;
  for (let slot = 0; slot < slotCount; slot++)
    spared[slot] = isInLane[slot] === 1 || matchedBlocks[slot]! > most ? 0 : 1;
  return true;
}

function leastOf(view: LoadView): Least {
  const old = leastAmong(view, false);
  // Where all have just come there are no others.
  return old.running === Infinity ? leastAmong(view, true) : old;
}

function leastAmong(view: LoadView, isForYoung: boolean): Least {
  const { isPresent, runningRequests, queueDepth, kvUsage, slotCount } = view.columns;
  let [running, waiting, usage] = [Infinity, Infinity, Infinity];
  for (let slot = 0; slot < slotCount; slot++) {
    if (isPresent[slot] !== 1 || !isUsable(view, slot)) continue;
    if (!isForYoung && isYoung(view, slot)) continue;
    running = Math.min(running, runningRequests[slot]!);
    waiting = Math.min(waiting, queueDepth[slot]!);
    usage = Math.min(usage, kvUsage[slot]!);
  }
  return { isForYoung, running, waiting, usage };
}

function isAsGood(view: LoadView, slot: number, least: Least): boolean {
  const { runningRequests, queueDepth } = view.columns;
  return (
    busySteps(view, slot) <= BUSY_STEPS_MAX &&
    runningRequests[slot]! <= least.running + MORE_RUNNING &&
    queueDepth[slot]! <= least.waiting + MORE_WAITING &&
    isAsRoomy(view, slot, least.usage) &&
    isUsable(view, slot) &&
    (least.isForYoung || !isYoung(view, slot))
  );
}

/** As slow-start-filter has it, with its usual window. */
function isYoung({ columns: endpoints, nowMs }: LoadView, slot: number): boolean {
  return endpointAgeMs({ endpoints, nowMs }, slot) < YOUNG_MS;
}
