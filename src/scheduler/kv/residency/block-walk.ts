// Where a source's blocks are, told one behind the other: the walk stands at the end of the last one.
//
//   state    of the tokens so far, which gives the block's key, and the state of the next: token-keys.ts
//   offset   where in its tokens' row of KEY_TOKENS it ends; 0: requests have keys of tokens here
//   link     the block among the pool's chains, if they are kept: key-chains.ts

import { NONE } from "../block-table.ts";
import { CHAIN_START, type KeyChains } from "./key-chains.ts";
import type { KvExtraKey } from "./kv-event.ts";
import { keyHigh, keyLow, TokenKeyChain } from "./token-keys.ts";

/** Tokens between the keys that requests carry, where these are of tokens. */
const KEY_TOKENS = 64;

export class BlockWalk {
  readonly #chain = new TokenKeyChain();
  readonly #chains: KeyChains | undefined;
  #offset = 0;
  #link = NONE;

  /** `chains` is told which block is behind which, in tokens. */
  constructor(chains: KeyChains | undefined) {
    this.#chains = chains;
  }

  get stateLow(): number {
    return this.#chain.stateLow;
  }

  get stateHigh(): number {
    return this.#chain.stateHigh;
  }

  get offset(): number {
    return this.#offset;
  }

  /** At the start of a prompt; `adapter` is null for the base model. */
  begin(adapter: string | null): void {
    this.#chain.begin(adapter);
    this.#offset = 0;
    this.#link = CHAIN_START;
  }

  /** At the end of a block, where the walk was when it was told. */
  resume(stateLow: number, stateHigh: number, offset: number): void {
    this.#chain.resume(stateLow, stateHigh);
    this.#offset = offset;
    this.#link = this.#chains?.find(keyLow(stateLow), keyHigh(stateLow, stateHigh)) ?? NONE;
  }

  /** The next block: those of `tokens` from one place to another, and what else its hash depends on. */
  // Hot path: residency in bench/.
  addBlock(
    tokens: Uint32Array,
    from: number,
    to: number,
    extras: readonly KvExtraKey[] | undefined,
  ): void {
    this.#chain.addBlock(tokens, from, to, extras);
    this.#offset = (this.#offset + to - from) % KEY_TOKENS;
    if (this.#chains === undefined || this.#link === NONE) return;
    const { stateLow, stateHigh } = this.#chain;
    this.#link = this.#chains.add(
      this.#link,
      keyLow(stateLow),
      keyHigh(stateLow, stateHigh),
      to - from,
    );
  }
}
