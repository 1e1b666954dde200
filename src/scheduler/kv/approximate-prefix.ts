// approx-prefix-cache-producer: what endpoints hold, learned from where requests were sent.
//
//   capacity[slot] = kvCapacityTokens[slot] / CONTENT_BLOCK_TOKENS     blocks, where that is known
//                    the rule's blocks                                 otherwise
//
// Source: llm-d-router pkg/epp/framework/plugins/requestcontrol/dataproducer/approximateprefix.
// Ours counts capacity in its own blocks, where llm-d compares blocks of 64 tokens with the engine's
// count of often 16, and learns from requests that reached an engine, not from every dispatch. It
// misleads where engines evict for other reasons than age; exact events will correct that.

import { CONTENT_BLOCK_TOKENS } from "./content-keys.ts";
import type { PrefixTree } from "./prefix-tree.ts";

/** Blocks an endpoint is taken to hold while its cache size is unknown (llm-d's default). */
export const DEFAULT_CAPACITY_BLOCKS = 31_250;

/** How many blocks an endpoint is taken to hold. */
export interface CapacityRule {
  /** Whether an engine's own cache size counts, where it is known. */
  readonly followsEngine: boolean;
  /** Where it does not. */
  readonly blocks: number;
}

/** One per pool; owns the pool's PrefixTree. */
export class ApproximatePrefix {
  readonly tree: PrefixTree;
  /** As last given to the tree; NaN, which equals nothing, before that. */
  readonly #capacityTokens: Float64Array;
  #rule: CapacityRule = { followsEngine: true, blocks: DEFAULT_CAPACITY_BLOCKS };

  constructor(tree: PrefixTree, slotsMax: number) {
    this.tree = tree;
    this.#capacityTokens = new Float64Array(slotsMax).fill(NaN);
  }

  /**
   * The engine at `slot` has computed, or is about to compute, this prefix. Returns how many blocks,
   * from the first on, it was known to hold.
   */
  learn(keys: Uint32Array, slot: number, kvCapacityTokens: number): number {
    this.setCapacity(slot, kvCapacityTokens);
    return this.tree.insert(keys, slot);
  }

  /** The size of the cache at `slot`; 0 while unknown. What is over it is forgotten. */
  setCapacity(slot: number, kvCapacityTokens: number): void {
    if (kvCapacityTokens === this.#capacityTokens[slot]) return;
    this.#capacityTokens[slot] = kvCapacityTokens;
    this.#applyRule(slot);
  }

  /** From now on, for every endpoint. What is over it is forgotten. */
  setRule(rule: CapacityRule): void {
    const { followsEngine, blocks } = this.#rule;
    if (rule.followsEngine === followsEngine && rule.blocks === blocks) return;
    this.#rule = rule;
    for (let slot = 0; slot < this.#capacityTokens.length; slot++)
      if (!Number.isNaN(this.#capacityTokens[slot])) this.#applyRule(slot);
  }

  #applyRule(slot: number): void {
    const { followsEngine, blocks } = this.#rule;
    const tokens = this.#capacityTokens[slot]!;
    const isEngines = followsEngine && tokens > 0;
    this.tree.setCapacity(slot, isEngines ? tokens / CONTENT_BLOCK_TOKENS : blocks);
  }

  /**
   * The request failed there before it was computed. The first `blocksBefore` blocks were held
   * before this request and stay.
   */
  unlearn(keys: Uint32Array, slot: number, blocksBefore: number): void {
    this.tree.removeHolder(keys.subarray(blocksBefore * 2), slot);
  }

  /** Forgets an endpoint whose slot is about to be reused. */
  removeEndpoint(slot: number): void {
    this.tree.removeEndpoint(slot);
    this.#capacityTokens[slot] = NaN;
  }
}
