// dynamo: the cost of NVIDIA Dynamo's KV router, in blocks.
//
//   credit   = matched / (1 + DECAY · excess prefill / incoming)
//   prefill  = max(0, active prefill + incoming − credit)
//   cost     = 1.0 · prefill + active blocks
//
// Active blocks are those of the sequences under way, a shared one once; excess prefill is what an
// endpoint has to compute above the least of all.
//
// Source: ai-dynamo/dynamo docs, router concepts. All tiers but the GPU's are empty here. Dynamo learns
// of caches from events; here, as every router, from its own decisions.

import { CONTENT_BLOCK_TOKENS } from "../../../src/scheduler/kv/content-keys.ts";
import type { PolicyDefinition, RoutedRequest } from "../policy.ts";
import { cheapest, PrefixBooks } from "./prefix-books.ts";

const PREFILL_SCALE = 1;
const DECAY = 1;

/** Blocks of the sequences under way at one endpoint. */
class ActiveBlocks {
  readonly #uses = new Map<number, number>();

  get size(): number {
    return this.#uses.size;
  }

  add(blocks: Int32Array): void {
    for (const block of blocks) this.#uses.set(block, (this.#uses.get(block) ?? 0) + 1);
  }

  remove(blocks: Int32Array): void {
    for (const block of blocks) {
      const left = this.#uses.get(block)! - 1;
      if (left === 0) this.#uses.delete(block);
      else this.#uses.set(block, left);
    }
  }
}

export const dynamo: PolicyDefinition = {
  name: "dynamo",
  about: "Dynamo: prefill blocks under way and new, less the cached, and active blocks.",
  create(context) {
    const books = new PrefixBooks(context);
    const active = Array.from({ length: context.endpointCount }, () => new ActiveBlocks());
    const ended = (request: RoutedRequest, slot: number): void => {
      books.ended(request);
      active[slot]!.remove(promptBlocks(request));
    };
    return {
      choose(request) {
        books.match(request);
        const { prefillTokens, cachedTokens } = books;
        const incoming = request.inference.promptTokens;
        const least = prefillTokens.reduce((a, b) => Math.min(a, b));
        const slot = cheapest(context, (at) => {
          const excess = (prefillTokens[at]! - least) / incoming;
          const credit = cachedTokens[at]! / (1 + DECAY * excess);
          const prefill = Math.max(0, prefillTokens[at]! + incoming - credit);
          return (PREFILL_SCALE * prefill) / CONTENT_BLOCK_TOKENS + active[at]!.size;
        });
        active[slot]!.add(promptBlocks(request));
        return books.send(request, slot);
      },
      firstToken: (request) => books.firstToken(request),
      finished: (request, slot) => ended(request, slot),
      shed: (request, slot) => ended(request, slot),
    };
  },
};

function promptBlocks({ truth }: RoutedRequest): Int32Array {
  return truth.blocks.subarray(0, Math.floor(truth.promptTokens / CONTENT_BLOCK_TOKENS));
}
