// What others have sent since the snapshot, as far as it can be reckoned.
//
//   others' rate × time since then = so many requests, each of the mean size and cold
//   each goes where the pool's own scheduler would send it now, and is counted there as ours are
//
// Without it every isolate with the same snapshot fills the endpoint that looked idle in it until the next one
// comes. With it an idle endpoint fills up in each isolate's view about as fast as all of them together fill it.
// Then the view is level, and ties fall differently in each. A real difference lasts longer than what fills it, and
// is used that long.
//
// The next snapshot, which has counted what was really sent, replaces all of it.

import type { EndpointPicker, PickInput } from "../endpoint-picker.ts";
import type { EndpointTable } from "../model/endpoint-table.ts";
import type { InferenceRequest } from "../model/inference-request.ts";
import type { Rng } from "../support/rng.ts";
import type { DispatchRate } from "./contracts.ts";

/** Decisions of others that are taken at once, a few microseconds each: with more, several go one way. */
const PICKS_MAX = 8;
/** Requests reckoned at once; what is beyond it is not worth the time: the snapshot is too old then. */
const REQUESTS_MAX = 256;
const NO_KEYS = new Uint32Array(0);

export class UnseenDispatches {
  readonly #table: EndpointTable;
  readonly #rng: Rng;
  #rate: DispatchRate | undefined;
  /** Per ms, without this isolate's own. */
  #others = 0;
  #reckonedToMs = 0;
  /** Requests that are not counted yet; less than one after a reckoning. */
  #due = 0;

  constructor(table: EndpointTable, rng: Rng) {
    this.#table = table;
    this.#rng = rng;
  }

  /** Requests that others send, in a second. */
  get othersPerS(): number {
    return this.#others * 1_000;
  }

  /** The table is as of `asOfMs` again. `ownPerS` is what this isolate sends by itself. */
  begin(rate: DispatchRate | undefined, asOfMs: number, ownPerS: number): void {
    this.#rate = rate;
    this.#others = Math.max(0, (rate?.requestsPerS ?? 0) - ownPerS) / 1_000;
    this.#reckonedToMs = asOfMs;
    this.#due = 0;
  }

  /** Counts what others have sent up to `input.nowMs`. `input` is what `picker` is going to decide on. */
  reckon(picker: EndpointPicker, input: PickInput): void {
    const { nowMs } = input;
    const rate = this.#rate;
    const passedMs = nowMs - this.#reckonedToMs;
    if (passedMs <= 0 || rate === undefined) return;
    this.#reckonedToMs = nowMs;
    this.#due = Math.min(REQUESTS_MAX, this.#due + passedMs * this.#others);
    const count = Math.floor(this.#due);
    this.#due -= count;
    const each = Math.max(1, Math.ceil(count / PICKS_MAX));
    const request = othersRequest(input.request, rate);
    for (let left = count; left > 0; left -= each) {
      const seed = Math.floor(this.#rng() * 2 ** 32);
      const picked = picker.pick({ ...input, request, seed });
      if (!picked.ok) return;
      const slot = picked.slots[0]!;
      const prefillSlot = picked.prefill?.[0] ?? slot;
      for (let n = Math.min(each, left); n > 0; n--) this.#dispatch(slot, prefillSlot, nowMs);
    }
  }

  /** Caches are not counted as filled: what each of them is sent evens out over more time than a snapshot's. */
  #dispatch(slot: number, prefillSlot: number, nowMs: number): void {
    const { kvTokens, uncachedTokens } = this.#rate!;
    const prompt = { promptTokens: 0, uncachedTokens };
    if (prefillSlot === slot) {
      this.#table.dispatched(slot, kvTokens, nowMs, prompt);
      return;
    }
    this.#table.dispatched(prefillSlot, uncachedTokens, nowMs, prompt);
    this.#table.dispatched(slot, kvTokens, nowMs);
  }
}

/** As cold as the mean: what is cached of a prompt is no work anywhere. */
function othersRequest(
  { model }: InferenceRequest,
  { uncachedTokens }: DispatchRate,
): InferenceRequest {
  return {
    requestId: "",
    model,
    tenant: "",
    priority: 0,
    keys: NO_KEYS,
    promptTokens: uncachedTokens,
    outputTokensMax: null,
    bodyBytes: 0,
  };
}
