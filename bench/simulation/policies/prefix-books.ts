// What a router believes to be cached, and what it has under way, kept from its own decisions: the
// books of every baseline that keeps its own.

import { CONTENT_BLOCK_TOKENS } from "../../../src/scheduler/kv/content-keys.ts";
import { PrefixTree } from "../../../src/scheduler/kv/prefix-tree.ts";
import { ENDPOINTS_MAX } from "../../../src/scheduler/model/endpoint-table.ts";
import type { PolicyContext, RoutedRequest } from "../policy.ts";

interface Sent {
  readonly slot: number;
  readonly uncachedTokens: number;
  isPrefilling: boolean;
}

export class PrefixBooks {
  readonly tree = new PrefixTree();
  /** Tokens of the present request that each endpoint is believed to hold. Filled by `match`. */
  readonly cachedTokens: Float64Array;
  /** Requests that have not ended. */
  readonly requests: Int32Array;
  /** Uncached prompt tokens of those without a first token. */
  readonly prefillTokens: Float64Array;
  readonly #matchedBlocks = new Int32Array(ENDPOINTS_MAX);
  readonly #sent = new Map<RoutedRequest, Sent>();

  constructor({ endpointCount, shape }: PolicyContext) {
    this.cachedTokens = new Float64Array(endpointCount);
    this.requests = new Int32Array(endpointCount);
    this.prefillTokens = new Float64Array(endpointCount);
    const tokens = shape.engine.blockCount * shape.engine.blockSize;
    for (let slot = 0; slot < endpointCount; slot++)
      this.tree.setCapacity(slot, tokens / CONTENT_BLOCK_TOKENS);
  }

  match({ inference }: RoutedRequest): void {
    this.tree.match(inference.keys, this.#matchedBlocks);
    for (let slot = 0; slot < this.cachedTokens.length; slot++)
      this.cachedTokens[slot] = this.#matchedBlocks[slot]! * CONTENT_BLOCK_TOKENS;
  }

  uncachedTokens({ inference }: RoutedRequest, slot: number): number {
    return Math.max(0, inference.promptTokens - this.cachedTokens[slot]!);
  }

  /** The request goes to `slot`, whose cache will hold it. Call after `match`. */
  send(request: RoutedRequest, slot: number): number[] {
    const uncachedTokens = this.uncachedTokens(request, slot);
    this.#sent.set(request, { slot, uncachedTokens, isPrefilling: true });
    this.requests[slot]! += 1;
    this.prefillTokens[slot]! += uncachedTokens;
    this.tree.insert(request.inference.keys, slot);
    return [slot];
  }

  firstToken(request: RoutedRequest): void {
    const sent = this.#sent.get(request);
    if (sent?.isPrefilling !== true) return;
    sent.isPrefilling = false;
    this.prefillTokens[sent.slot]! -= sent.uncachedTokens;
  }

  ended(request: RoutedRequest): void {
    const sent = this.#sent.get(request);
    if (sent === undefined) return;
    this.firstToken(request);
    this.requests[sent.slot]! -= 1;
    this.#sent.delete(request);
  }
}

/** The slot with the least cost; ties go to a random one. */
export function cheapest(
  { endpointCount, rng }: PolicyContext,
  costOf: (slot: number) => number,
): number {
  const first = Math.floor(rng() * endpointCount);
  let best = first;
  let least = costOf(first);
  for (let i = 1; i < endpointCount; i++) {
    const slot = (first + i) % endpointCount;
    const cost = costOf(slot);
    if (cost < least) [best, least] = [slot, cost];
  }
  return best;
}
