// What others have sent since the snapshot, as far as it can be reckoned.
//
//   others' rate × time since then = so many requests, each of the mean size
//   each goes where busy = prompts sent before + REQUEST_MS × requests there is the least: a level rises
//
// Without it every isolate with the same snapshot fills the endpoint that looked idle in it until the next one
// comes. With it an idle endpoint fills up in each isolate's view about as fast as all of them fill it; then the
// view is level, and isolates spread, because ties fall differently in each. What is not level by then, they
// know: a real difference lasts longer than what fills it.
//
// The next snapshot, which has counted what was really sent, replaces all of it.

import { isEjected } from "../ejection.ts";
import { isFresh } from "../freshness.ts";
import type { EndpointTable } from "../model/endpoint-table.ts";
import { hasRole } from "../roles.ts";
import type { Rng } from "../support/rng.ts";
import type { DispatchRate } from "./contracts.ts";

/** Reckoned at once; what is beyond it is not worth the time: the snapshot is too old then. */
const UNSEEN_STEP_MAX = 128;
/** What a request that runs or waits is to the next one, as latency-cost-scorer has it by default. */
const REQUEST_MS = 10;

export class UnseenDispatches {
  readonly #table: EndpointTable;
  readonly #rng: Rng;
  #rate: DispatchRate | undefined;
  /** Per ms, without this isolate's own. */
  #others = 0;
  #reckonedToMs = 0;
  /** A part of a request. */
  #due = 0;
  /** Who computes prompts. */
  #slots: number[] = [];

  constructor(table: EndpointTable, rng: Rng) {
    this.#table = table;
    this.#rng = rng;
  }

  /** Requests that others send, in a second. */
  get othersPerS(): number {
    return this.#others * 1_000;
  }

  /** The table is as of `asOfMs` again. `ownPerS` is what this isolate sends by itself. */
  begin(
    rate: DispatchRate | undefined,
    at: { readonly asOfMs: number; readonly ownPerS: number; readonly staleAfterMs: number },
  ): void {
    const table = this.#table;
    const context = { endpoints: table.columns, nowMs: at.asOfMs, staleAfterMs: at.staleAfterMs };
    const usable = [...table.slots()].filter(
      (slot) => isFresh(context, slot) && !isEjected(context, slot),
    );
    const prefilling = usable.filter((slot) => hasRole({ pool: table }, slot, "prefill"));
    this.#slots = prefilling.length > 0 ? prefilling : usable;
    this.#rate = rate;
    this.#others = Math.max(0, (rate?.requestsPerS ?? 0) - at.ownPerS) / 1_000;
    this.#reckonedToMs = at.asOfMs;
    this.#due = 0;
  }

  /** Counts what others have sent up to now. O(requests × endpoints). */
  reckon(nowMs: number): void {
    const passedMs = nowMs - this.#reckonedToMs;
    if (passedMs <= 0) return;
    this.#reckonedToMs = nowMs;
    if (this.#rate === undefined || this.#slots.length === 0) return;
    this.#due = Math.min(UNSEEN_STEP_MAX, this.#due + passedMs * this.#others);
    for (; this.#due >= 1; this.#due -= 1) {
      const { kvTokens } = this.#rate;
      this.#table.dispatched(this.#leastBusy(nowMs), kvTokens, nowMs, this.#rate);
    }
  }

  /** Ties fall by chance: a walk that begins anywhere, and takes the first. */
  #leastBusy(nowMs: number): number {
    const { prefillBusyUntilMs, queueDepth, runningRequests } = this.#table.columns;
    const slots = this.#slots;
    const start = Math.floor(this.#rng() * slots.length);
    let best = slots[start]!;
    let leastMs = Infinity;
    for (let i = 0; i < slots.length; i++) {
      const slot = slots[(start + i) % slots.length]!;
      const requests = queueDepth[slot]! + runningRequests[slot]!;
      const busyMs = Math.max(nowMs, prefillBusyUntilMs[slot]!) + REQUEST_MS * requests;
      if (busyMs >= leastMs) continue;
      leastMs = busyMs;
      best = slot;
    }
    return best;
  }
}
