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
// None of these is ejected, silent, short of memory, or has a longer queue than the others' requests can have made
// of the shortest ones. With nobody else there, or right after a snapshot, all are kept, and the pick is the object's.
// docs/decisions/058-simulation-at-the-edge.md has what each way costs.

import type { EndpointColumns } from "../model/endpoint-columns.ts";
import { ENDPOINTS_MAX } from "../model/endpoint-table.ts";
import { createRng } from "../support/rng.ts";
import type { DispatchRate, EdgeLane } from "./contracts.ts";
import { busySteps, isUsable, type LoadView, MORE_BLOCKS } from "./idle.ts";

/** A request of others for so many endpoints kept may be at the one that is chosen. */
const OTHERS_EACH = 4;
/** Picks that look at one endpoint beyond the lane. */
const BEYOND_SHARE = 1 / 8;

export class UnseenDispatches {
  /** Per ms, without this isolate's own. */
  #others = 0;
  #asOfMs = -Infinity;
  #lane: EdgeLane | undefined;
  /** Those that are there, and by slot how busy they are. */
  readonly #slots = new Int32Array(ENDPOINTS_MAX);
  readonly #ranks = new Float64Array(ENDPOINTS_MAX);
  readonly #sorted = new Float64Array(ENDPOINTS_MAX);

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
   * Writes 1 into `spared` for each slot that a pick is to spare, 0 for all others; see PickInput. `match` gives
   * what each endpoint is likely to hold of the prompt, in blocks. False where all are kept, and nothing is written.
   * O(endpoints × log), no allocation but the draws'.
   */
  // Hot path: ways in bench/.
  spare(view: LoadView, match: () => Int32Array, seed: number, spared: Uint8Array): boolean {
    const unseen = this.#others * Math.max(0, view.nowMs - this.#asOfMs);
    const { columns } = view;
    const count = this.#list(view);
    const kept = Math.max(1, Math.floor(count / Math.max(1, OTHERS_EACH * unseen)));
    if (kept >= count) return false;
    const matchedBlocks = match();
    const most = this.#median(count, matchedBlocks) + MORE_BLOCKS;
    const level = this.#level(count, columns, unseen);
    const rng = createRng(seed);
    spared.fill(1, 0, columns.slotCount);
    let [others, beyond] = [0, 0];
    for (let place = 0; place < count; place++) {
      const slot = this.#slots[place]!;
      const rank = busySteps(view, slot) + rng();
      this.#ranks[slot] = Infinity;
      if (matchedBlocks[slot]! > most) spared[slot] = 0;
      if (spared[slot] === 0 || columns.queueDepth[slot]! >= level) continue;
      others += 1;
      if (rank < 1 && this.#isInLane(place, count)) {
        spared[slot] = 0;
        continue;
      }
      this.#ranks[slot] = rank;
      this.#sorted[beyond++] = rank;
    }
    const keptBeyond = beyond === others ? kept : rng() < BEYOND_SHARE ? 1 : 0;
    this.#keepLeast(spared, { count, beyond, kept: keptBeyond });
    return true;
  }

  /** Of the `beyond` that are spared, those of the least ranks are not. */
  #keepLeast(
    spared: Uint8Array,
    { count, beyond, kept }: { readonly count: number; beyond: number; kept: number },
  ): void {
    if (kept === 0 || beyond === 0) return;
    const sorted = this.#sorted.subarray(0, beyond).sort();
    const least = sorted[Math.min(kept, beyond) - 1]!;
    for (let place = 0; place < count; place++) {
      const slot = this.#slots[place]!;
      if (spared[slot] === 1 && this.#ranks[slot]! <= least) spared[slot] = 0;
    }
  }

  #isInLane(place: number, placeCount: number): boolean {
    if (this.#lane === undefined) return false;
    const { index, count } = this.#lane;
    return count < placeCount ? place % count === index : place === index % placeCount;
  }

  /** Those that a request can be sent to, or all where there is none. */
  #list(view: LoadView): number {
    const usable = this.#listIf(view, isUsable);
    return usable > 0 ? usable : this.#listIf(view, () => true);
  }

  #listIf(view: LoadView, isListed: (view: LoadView, slot: number) => boolean): number {
    const { slotCount, isPresent } = view.columns;
    let count = 0;
    for (let slot = 0; slot < slotCount; slot++)
      if (isPresent[slot] === 1 && isListed(view, slot)) this.#slots[count++] = slot;
    return count;
  }

  /** The length to which queues have grown where each of the others went to the shortest one; over the least. */
  #level(count: number, { queueDepth }: EndpointColumns, unseen: number): number {
    for (let place = 0; place < count; place++)
      this.#sorted[place] = queueDepth[this.#slots[place]!]!;
    const sorted = this.#sorted.subarray(0, count).sort();
    let [sum, level] = [0, Infinity];
    for (let filled = 1; filled <= count; filled++) {
      sum += sorted[filled - 1]!;
      level = (sum + Math.max(1, unseen)) / filled;
      if (filled === count || level <= sorted[filled]!) break;
    }
    return level;
  }

  #median(count: number, matchedBlocks: Int32Array): number {
    for (let place = 0; place < count; place++)
      this.#sorted[place] = matchedBlocks[this.#slots[place]!]!;
    return this.#sorted.subarray(0, count).sort()[count >> 1]!;
  }
}
