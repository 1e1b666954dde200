// preble: E2, exploit or explore.
//
//   cached > uncached at the best endpoint:  that one, unless its load > 2 × the least
//   else:                                    least of L + M + P
//
// L is the work sent in the last 3 minutes, M what the placement evicts and would be computed again, P
// the prefill of what is not cached; all in ms of one engine.
//
// Source: Srivatsa et al., Preble (ICLR 2025), section 3; WuklabUCSD/preble.

import { CONTENT_BLOCK_TOKENS } from "../../../src/scheduler/kv/content-keys.ts";
import type { PolicyDefinition } from "../policy.ts";
import { cheapest, PrefixBooks } from "./prefix-books.ts";

const WINDOW_MS = 180_000;
const IMBALANCE = 2;
const PREFILL_MS_PER_TOKEN = 1_000 / 15_928;
/** A step's time shared by the sequences of a usual batch. */
const DECODE_MS_PER_TOKEN = 1;

export const preble: PolicyDefinition = {
  name: "preble",
  about: "Preble's E2: the longest match where most is cached, else the least load and eviction.",
  create(context) {
    const { endpointCount, shape } = context;
    const books = new PrefixBooks(context);
    const capacityBlocks =
      (shape.engine.blockCount * shape.engine.blockSize) / CONTENT_BLOCK_TOKENS;
    const load = new Float64Array(endpointCount);
    const recent: { readonly atMs: number; readonly slot: number; readonly ms: number }[] = [];
    let forgotten = 0;
    let outputMean = 500;
    const forget = (nowMs: number): void => {
      for (; recent[forgotten] !== undefined; forgotten++) {
        const { atMs, slot, ms } = recent[forgotten]!;
        if (atMs + WINDOW_MS > nowMs) return;
        load[slot]! -= ms;
      }
    };
    return {
      choose(request, nowMs) {
        forget(nowMs);
        books.match(request);
        const prefillMs = (slot: number) =>
          PREFILL_MS_PER_TOKEN * books.uncachedTokens(request, slot);
        const longest = cheapest(context, (slot) => -books.cachedTokens[slot]!);
        const least = load.reduce((a, b) => Math.min(a, b));
        const isCached = books.cachedTokens[longest]! > books.uncachedTokens(request, longest);
        const isOverloaded = load[longest]! > IMBALANCE * least && books.requests[longest]! > 0;
        const slot =
          isCached && !isOverloaded
            ? longest
            : cheapest(context, (at) => {
                const isFull = books.tree.heldBlocks(at) >= capacityBlocks;
                return load[at]! + (isFull ? 2 : 1) * prefillMs(at);
              });
        const ms = prefillMs(slot) + DECODE_MS_PER_TOKEN * outputMean;
        load[slot]! += ms;
        recent.push({ atMs: nowMs, slot, ms });
        return books.send(request, slot);
      },
      finished(request, _slot, { completionTokens }) {
        outputMean += 0.02 * (completionTokens - outputMean);
        books.ended(request);
      },
      shed: (request) => books.ended(request),
    };
  },
};
