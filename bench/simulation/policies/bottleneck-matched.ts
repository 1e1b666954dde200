// llm-d-bottleneck: llm-d's announced profile for traffic bound by prefill.
//
//   prefix-cache-affinity-filter   endpoints that hold 0.8 of the prompt, unless they are 18 s behind
//   token-load-scorer              the least tokens: in flight, and not cached of this prompt
//
// Source: llm-d-router pkg/epp/framework/plugins/scheduling/{filter/prefixcacheaffinity,
// scorer/tokenload}, with their defaults. Tokens in flight are uncached prompt tokens until the first
// token, as llm-d's inflight-load-producer counts them.

import type { PolicyDefinition, RoutedRequest } from "../policy.ts";
import { cheapest, PrefixBooks } from "./prefix-books.ts";

const AFFINITY_THRESHOLD = 0.8;
const PENALTY_MS_MAX = 18_000;
const PREFILL_TOKENS_PER_MS = 15.928;

export const bottleneckMatched: PolicyDefinition = {
  name: "llm-d-bottleneck",
  about: "llm-d's prefix-cache-affinity-filter with its token-load-scorer.",
  create(context) {
    const books = new PrefixBooks(context);
    const { prefillTokens, cachedTokens } = books;
    const isSticky = (slot: number, { inference }: RoutedRequest): boolean =>
      cachedTokens[slot]! / inference.promptTokens >= AFFINITY_THRESHOLD;
    return {
      choose(request) {
        books.match(request);
        let [sticky, others] = [Infinity, Infinity];
        for (let slot = 0; slot < context.endpointCount; slot++) {
          const ms = prefillTokens[slot]! / PREFILL_TOKENS_PER_MS;
          if (isSticky(slot, request)) sticky = Math.min(sticky, ms);
          else others = Math.min(others, ms);
        }
        const keepsSticky = sticky < Infinity && !(sticky - others > PENALTY_MS_MAX);
        const slot = cheapest(context, (at) =>
          keepsSticky && !isSticky(at, request)
            ? Infinity
            : prefillTokens[at]! + books.uncachedTokens(request, at),
        );
        return books.send(request, slot);
      },
      firstToken: (request) => books.firstToken(request),
      finished: (request) => books.ended(request),
      shed: (request) => books.ended(request),
    };
  },
};
