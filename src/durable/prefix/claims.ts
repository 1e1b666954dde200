// What is believed of an endpoint's cache before the endpoint has confirmed it.
//
// A claim is made when a prompt is handed to an endpoint: its blocks are learned at once. Then the
// endpoint either reads the prompt (`confirm`) or fails, and the claim is taken back. Prompts share
// prefixes, so one claim's failure must not take blocks that another request has vouched for:
//
//   claim's path   │ kept │ at stake …………………│      kept: held before, or confirmed by another
//   confirm        raises `kept` of every claim at that endpoint that shares blocks with it
//   take back      leaves what another claim still has at stake, and puts that claim in charge of it
//
// Keys name their whole path, so what two paths share is found by bisection.

/** What is believed of the endpoints' caches. */
export interface PrefixLearner {
  /** Returns how many blocks of the path, from the first on, `slot` was believed to hold before. */
  learn(keys: Uint32Array, slot: number): number;
  /** Takes back the path's blocks from `firstBlock` on. */
  forget(keys: Uint32Array, firstBlock: number, slot: number): void;
}

/** One request's unconfirmed claim. `keys` is its owner's and must not change while it stands. */
export interface PrefixClaim {
  readonly keys: Uint32Array;
  readonly slot: number;
  /** The first blocks of the path, which stay whatever becomes of this claim. */
  keptBlocks: number;
}

/** The claims of one pool; as many as there are tickets. */
export class PrefixClaims {
  readonly #learner: PrefixLearner;
  readonly #bySlot = new Map<number, Set<PrefixClaim>>();

  constructor(learner: PrefixLearner) {
    this.#learner = learner;
  }

  /** The prompt is on its way to `slot`. */
  claim(keys: Uint32Array, slot: number): PrefixClaim {
    const claim = { keys, slot, keptBlocks: this.#learner.learn(keys, slot) };
    const claims = this.#bySlot.get(slot);
    if (claims === undefined) this.#bySlot.set(slot, new Set([claim]));
    else claims.add(claim);
    return claim;
  }

  /** The endpoint has read the prompt. O(claims at the endpoint). */
  confirm(keys: Uint32Array, slot: number): void {
    // Also where it was claimed: the tree may have evicted blocks in between.
    this.#learner.learn(keys, slot);
    for (const other of this.#bySlot.get(slot) ?? []) {
      if (!isSameBlock(keys, other.keys, other.keptBlocks)) continue;
      other.keptBlocks = sharedBlocks(keys, other.keys);
    }
  }

  /** The endpoint has not read the prompt. O(claims at the endpoint). */
  takeBack(claim: PrefixClaim): void {
    this.drop(claim);
    let kept = claim.keptBlocks;
    for (const other of this.#bySlot.get(claim.slot) ?? []) {
      if (!isSameBlock(claim.keys, other.keys, claim.keptBlocks)) continue;
      kept = Math.max(kept, sharedBlocks(claim.keys, other.keys));
      other.keptBlocks = Math.min(other.keptBlocks, claim.keptBlocks);
    }
    this.#learner.forget(claim.keys, kept, claim.slot);
  }

  /** What became of the prompt will never be known: the belief stays. */
  drop(claim: PrefixClaim): void {
    const claims = this.#bySlot.get(claim.slot);
    claims?.delete(claim);
    if (claims?.size === 0) this.#bySlot.delete(claim.slot);
  }

  /** The slot may be given to another endpoint. Its claims are void and must not be used again. */
  endpointRemoved(slot: number): void {
    this.#bySlot.delete(slot);
  }
}

/** Whether both paths have a block at `index`, and the same one: then all before it are the same. */
function isSameBlock(a: Uint32Array, b: Uint32Array, index: number): boolean {
  const word = index * 2;
  if (word >= a.length || word >= b.length) return false;
  return a[word] === b[word] && a[word + 1] === b[word + 1];
}

/** Length of the common prefix in blocks. */
function sharedBlocks(a: Uint32Array, b: Uint32Array): number {
  let shared = 0;
  let past = Math.min(a.length, b.length) / 2;
  while (shared < past) {
    const middle = (shared + past) >>> 1;
    if (isSameBlock(a, b, middle)) shared = middle + 1;
    else past = middle;
  }
  return shared;
}
