// A pick that waits in a pool's queue, as the object keeps it: what its decision will need, and who is to
// be told of it.
//
//   present  its Worker holds a handle, and asks by `wait` or is about to: it can be let through
//   away     its Worker holds a numbered place, and asks again by `askByMs`

import { type QueuedRequest } from "../../scheduler/flow-control/contracts.ts";
import { widenKeys } from "../../scheduler/flow-control/queued-keys.ts";
import type { InferenceRequest } from "../../scheduler/model/inference-request.ts";
import type { NumberedPlace, PickRefusal, PickRequest, PickGrant } from "../contract.ts";

/** How a wait ends, or goes on as a place. */
export type WaitAnswer = PickGrant | PickRefusal | NumberedPlace;

/** A JavaScript string's memory, at most. */
const BYTES_PER_CHAR = 2;
/** Of the objects around what is counted. */
const OVERHEAD_BYTES = 1_024;

export class WaitingPick {
  readonly key: string;
  readonly queued: QueuedRequest;
  readonly attempt: number;
  readonly exclude: readonly string[];
  readonly proposed: string | undefined;
  /** Its Worker is of a version that can. */
  readonly canWait: boolean;
  readonly waitsForEndpoints: boolean;
  /** Unix ms. */
  readonly enqueuedAtMs: number;
  /** Of those that came at the same time the lower one was first. */
  readonly sequence: number;
  /** Which handle speaks for it; 0 while none does. */
  holder: number;
  isAway = false;
  /** Unix ms: an away one that nobody has asked for by then is given up. */
  askByMs = Infinity;
  /** Unix ms until which it waits as an open call. */
  openUntilMs = Infinity;
  /** What the queue counts for it. */
  heldBytes = 0;
  #request: InferenceRequest;
  #answer: WaitAnswer | undefined;
  #isTaken = false;
  #resolve: ((answer: WaitAnswer) => void) | undefined;

  constructor(
    pick: PickRequest,
    queued: QueuedRequest,
    at: { readonly key: string; readonly holder: number; readonly nowMs: number },
    sequence: number,
  ) {
    this.key = at.key;
    this.holder = at.holder;
    this.queued = queued;
    this.attempt = pick.attempt;
    this.exclude = pick.exclude;
    this.proposed = pick.proposed;
    this.canWait = pick.flow !== undefined;
    this.enqueuedAtMs = at.nowMs;
    this.sequence = sequence;
    this.waitsForEndpoints = pick.flow?.waitsForEndpoints ?? false;
    this.#request = pick.request;
  }

  /** Its decision knows only every so many keys. */
  get isThinned(): boolean {
    return this.queued.blocksPerKey > 1 && this.#request.keys === this.queued.keys;
  }

  /** With a part of its keys where it is thinned. */
  get request(): InferenceRequest {
    return this.#request;
  }

  /** The request as its decision is to see it. */
  widened(): InferenceRequest {
    return this.isThinned ? { ...this.#request, keys: widenKeys(this.queued) } : this.#request;
  }

  /** It is going to wait: keys that it need not keep are let go. */
  thin(): void {
    this.#request = { ...this.#request, keys: this.queued.keys };
  }

  /** Memory of what it keeps, about, in bytes. */
  measure(): number {
    const { headers = {}, media, subset = [] } = this.#request;
    let chars = 0;
    for (const [name, value] of Object.entries(headers)) chars += name.length + value.length;
    for (const address of [...subset, ...this.exclude]) chars += address.length;
    const mediaBytes = media === undefined ? 0 : media.hashes.byteLength + media.tokens.byteLength;
    const keyBytes = this.queued.keys.byteLength;
    return OVERHEAD_BYTES + keyBytes + mediaBytes + BYTES_PER_CHAR * chars;
  }

  /** Has been granted or refused, and nobody has heard of it yet. */
  get untaken(): WaitAnswer | undefined {
    return this.#isTaken ? undefined : this.#answer;
  }

  /** Tells whoever waits, now or later; of several answers the first is told. */
  give(answer: WaitAnswer): void {
    if (this.#answer !== undefined) return;
    this.#answer = answer;
    if (this.#resolve === undefined) return;
    this.#isTaken = true;
    this.#resolve(answer);
  }

  /** The answer, at once where it is there. One call at a time: of two the later one is told. */
  wait(): Promise<WaitAnswer> {
    const answer = this.untaken;
    if (answer !== undefined) {
      this.#isTaken = true;
      return Promise.resolve(answer);
    }
    return new Promise((resolve) => (this.#resolve = resolve));
  }

  /** It waits on, and is to be told anew: earlier calls have been answered. */
  renew(): void {
    this.#answer = undefined;
    this.#isTaken = false;
    this.#resolve = undefined;
  }

  /** The answer that nobody has taken: it is given to the caller instead. */
  take(): WaitAnswer | undefined {
    const answer = this.untaken;
    if (answer !== undefined) this.#isTaken = true;
    return answer;
  }
}
