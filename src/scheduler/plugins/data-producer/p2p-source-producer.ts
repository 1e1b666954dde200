// p2p-source-producer: the endpoint whose KV blocks a request could copy, where another one computes it.
//
//   sources = candidates within one block of the most that any candidate holds
//   slot    = one of them, drawn by the request's id with weight 1 / (1 + queueDepth)
//
// After the choice: -1 unless the source holds at least minCachedTokenDelta tokens more than the endpoint
// that computes the prompt, which is the prefill profile's where that ran.
//
// Source: llm-d-router pkg/epp/framework/plugins/requestcontrol/dataproducer/p2psource. An endpoint without
// a fresh sample is no source: copying from an engine that hangs would hang. llm-d counts blocks in CPU
// memory only, where tiers are told apart; here all of them count. Relays name the source to the endpoint
// that computes, as far as its connector knows how. O(n), no allocation.

import { z } from "zod";
import { producerOf } from "../../data/data.ts";
import { isFresh } from "../../freshness.ts";
import { type DataProducer, defineDataProducer, type PickContext } from "../../plugin.ts";

const params = z.strictObject({
  prefixMatchInfoProducerName: z.string().default("").describe("Who tells what is cached where"),
  minCachedTokenDelta: z.int().min(1).default(1).describe("Tokens that copying must save at least"),
  prefillProfileName: z.string().default("prefill").describe("Profile of the prefill stage"),
});
type Params = z.output<typeof params>;

class P2pSourceProducer implements DataProducer {
  readonly #params: Params;
  readonly #prefixProducer: string;
  readonly #source = { slot: -1 };
  readonly data = { "cache-source": this.#source };

  constructor(given: Params) {
    this.#params = given;
    this.#prefixProducer = producerOf("prefix-match", given.prefixMatchInfoProducerName);
  }

  produce(context: PickContext): void {
    const { candidates, candidateCount, data, request } = context;
    this.#source.slot = -1;
    const match = data.get("prefix-match", this.#prefixProducer);
    if (match === undefined) return;
    let most = 0;
    for (let i = 0; i < candidateCount; i++) {
      if (isFresh(context, candidates[i]!))
        most = Math.max(most, match.matchedBlocks[candidates[i]!]!);
    }
    if (most === 0) return;
    const least = Math.max(1, most - 1);
    let total = 0;
    for (let i = 0; i < candidateCount; i++)
      total += sourceWeight(context, match.matchedBlocks, { slot: candidates[i]!, least });
    let left = coordinateOf(request.requestId) * total;
    for (let i = 0; i < candidateCount; i++) {
      const weight = sourceWeight(context, match.matchedBlocks, { slot: candidates[i]!, least });
      if (weight === 0) continue;
      this.#source.slot = candidates[i]!;
      left -= weight;
      if (left < 0) return;
    }
  }

  onPicked({ data, results }: PickContext, primary: number): void {
    const match = data.get("prefix-match", this.#prefixProducer);
    const source = this.#source.slot;
    if (match === undefined || source < 0) return;
    const prefill = results.slotOf(this.#params.prefillProfileName) ?? -1;
    const computing = prefill >= 0 ? prefill : primary;
    const delta = match.matchedBlocks[source]! - match.matchedBlocks[computing]!;
    if (delta * match.blockTokens < this.#params.minCachedTokenDelta) this.#source.slot = -1;
  }

  onEndpointRemoved(slot: number): void {
    if (this.#source.slot === slot) this.#source.slot = -1;
  }
}

/** FNV-1a of the id as a share in [0, 1): an attempt that is repeated copies from the same endpoint. */
function coordinateOf(requestId: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < requestId.length; at++)
    hash = Math.imul(hash ^ requestId.charCodeAt(at), 0x01000193);
  return (hash >>> 0) / 2 ** 32;
}

/** 0 for an endpoint that is no source. */
function sourceWeight(
  context: PickContext,
  matchedBlocks: Int32Array,
  { slot, least }: { readonly slot: number; readonly least: number },
): number {
  if (matchedBlocks[slot]! < least || !isFresh(context, slot)) return 0;
  return 1 / (1 + context.endpoints.queueDepth[slot]!);
}

export const p2pSourceProducer = defineDataProducer({
  type: "p2p-source-producer",
  stability: "alpha",
  produces: ["cache-source"],
  params,
  consumes: ({ prefixMatchInfoProducerName: producer }) => [{ key: "prefix-match", producer }],
  create: (given) => new P2pSourceProducer(given),
});
