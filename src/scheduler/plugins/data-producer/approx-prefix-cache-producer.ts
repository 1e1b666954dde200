// approx-prefix-cache-producer: what endpoints hold, as learned from where requests were sent.
//
//   matched[slot] = blocks of the request that slot holds without a gap from the first
//
// Source: llm-d-router pkg/epp/framework/plugins/requestcontrol/dataproducer/approximateprefix. The
// pool's prefix tree does the work; kv/approximate-prefix.ts says how it learns. Counts are of an
// unbroken prefix, where llm-d's walk only stops at a block that nobody holds. O(blocks), no
// allocation.

import { z } from "zod";
import { CONTENT_BLOCK_TOKENS } from "../../kv/content-keys.ts";
import { ENDPOINTS_MAX } from "../../model/endpoint-table.ts";
import { type DataProducer, defineDataProducer, type PickContext } from "../../plugin.ts";

class ApproxPrefixCacheProducer implements DataProducer {
  readonly #matchedBlocks = new Int32Array(ENDPOINTS_MAX);
  readonly #match = {
    matchedBlocks: this.#matchedBlocks,
    weightedBlocks: this.#matchedBlocks,
    totalBlocks: 0,
    blockTokens: CONTENT_BLOCK_TOKENS,
  };
  readonly data = { "prefix-match": this.#match };

  produce({ request, prefixSources }: PickContext): void {
    this.#match.totalBlocks = request.keys.length / 2;
    prefixSources.approximate(request.keys, this.#matchedBlocks);
  }
}

export const approxPrefixCacheProducer = defineDataProducer({
  type: "approx-prefix-cache-producer",
  produces: ["prefix-match"],
  params: z.strictObject({}),
  create: () => new ApproxPrefixCacheProducer(),
});
