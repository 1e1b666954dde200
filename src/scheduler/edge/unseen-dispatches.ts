// What others have sent since the snapshot, and how not to send there too.
//
// Isolates with alike snapshots see the same idle endpoint, and until the next one would all fill it. Where each
// has gone nobody knows, so a pick chooses among few of the endpoints, others for each pick:
//
//   kept = those that hold more of the prompt than most do: that is worth more, and others know it too
//        + the isolate's own lane, as far as it is idle: nobody else sends there first; for one pick in eight
//          one of the rest besides, so that lanes stay level where one has more to do than others
//        or, where nothing of the lane is idle,
//          endpoints / (OTHERS_EACH × others' requests since the snapshot) of the rest, one at least; the least
//          busy first, and by chance among those that are busy alike
//
// With nobody else there, or right after a snapshot, all are kept, and the pick is the object's.
// docs/decisions/058-simulation-at-the-edge.md has what each way costs.

import type { EndpointColumns } from "../model/endpoint-columns.ts";
import { createRng } from "../support/rng.ts";
import type { DispatchRate, EdgeLane } from "./contracts.ts";

/** A request of others for so many endpoints kept may be at the one that is chosen. */
const OTHERS_EACH = 4;
/** Picks that look at one endpoint beyond the lane. */
const BEYOND_SHARE = 1 / 8;
/** Prompts that have been sent to one and not to the other make a difference; less is no news of a load. */
const BUSY_STEP_MS = 25;
/** Blocks beyond what most hold, from which a prefix speaks for an endpoint; 512 tokens. */
const MORE_BLOCKS = 8;

export class UnseenDispatches {
  /** Per ms, without this isolate's own. */
  #others = 0;
  #asOfMs = -Infinity;
  #lane: EdgeLane | undefined;
  readonly #sorted: number[] = [];

  /** Requests that others send, in a second. */
  get othersPerS(): number {
    return this.#others * 1_000;
  }

  /** A snapshot has come, as of `asOfMs`. `ownPerS` is what this isolate sends by itself. */
  begin(
    {
      rate,
      lane,
    }: { readonly rate?: DispatchRate | undefined; readonly lane?: EdgeLane | undefined },
    asOfMs: number,
    ownPerS: number,
  ): void {
    this.#lane = lane;
    this.#others = Math.max(0, (rate?.requestsPerS ?? 0) - ownPerS) / 1_000;
    this.#asOfMs = asOfMs;
  }

  /**
   * The slots that a pick is to leave out. `match` gives what each is likely to hold of the prompt, in blocks.
   * O(endpoints × log).
   */
  leftOut(
    columns: EndpointColumns,
    match: () => Int32Array,
    { nowMs, seed }: { readonly nowMs: number; readonly seed: number },
  ): number[] {
    const unseen = this.#others * Math.max(0, nowMs - this.#asOfMs);
    const slots = presentSlots(columns);
    const kept = Math.max(1, Math.floor(slots.length / Math.max(1, OTHERS_EACH * unseen)));
    if (kept >= slots.length) return [];
    const matchedBlocks = match();
    const most = this.#median(slots, matchedBlocks) + MORE_BLOCKS;
    const others = slots.filter((slot) => matchedBlocks[slot]! <= most);
    const rng = createRng(seed);
    const ranks = new Map(others.map((slot) => [slot, rankOf(columns, slot, nowMs) + rng()]));
    const isMine = (slot: number) =>
      this.#isInLane(slots.indexOf(slot), slots.length) && ranks.get(slot)! < 1;
    const beyond = others.filter((slot) => !isMine(slot));
    const keptBeyond = beyond.length === others.length ? kept : rng() < BEYOND_SHARE ? 1 : 0;
    return beyond.toSorted((one, other) => ranks.get(one)! - ranks.get(other)!).slice(keptBeyond);
  }

  #isInLane(place: number, placeCount: number): boolean {
    if (this.#lane === undefined) return false;
    const { index, count } = this.#lane;
    return count < placeCount ? place % count === index : place === index % placeCount;
  }

  #median(slots: readonly number[], matchedBlocks: Int32Array): number {
    const sorted = this.#sorted;
    sorted.length = 0;
    for (const slot of slots) sorted.push(matchedBlocks[slot]!);
    sorted.sort((one, other) => one - other);
    return sorted[sorted.length >> 1]!;
  }
}

function rankOf({ prefillBusyUntilMs }: EndpointColumns, slot: number, nowMs: number): number {
  return Math.floor(Math.max(0, prefillBusyUntilMs[slot]! - nowMs) / BUSY_STEP_MS);
}

function presentSlots({ slotCount, isPresent }: EndpointColumns): number[] {
  const slots: number[] = [];
  for (let slot = 0; slot < slotCount; slot++) if (isPresent[slot] === 1) slots.push(slot);
  return slots;
}
