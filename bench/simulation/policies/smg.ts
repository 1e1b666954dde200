// The two rules of SMG (Shepherd Model Gateway) that matter most.
//
//   cache-aware   imbalance (max − min > 64 and max > 1.5 · min): the least requests
//                 else the longest match, if it is over 0.3 of the prompt
//                 else the endpoint whose cache is known to hold least
//   least-load    (waiting · 1024 + tokens sent since the sample) / 2000 + 0.15 · k / (1 − k)   seconds
//
// Source: lightseekorg/smg policies/{cache_aware,least_load}.rs, with their defaults.

import type { PolicyContext, PolicyDefinition, RoutedRequest } from "../policy.ts";
import { cheapest, PrefixBooks } from "./prefix-books.ts";

const BALANCE_ABS = 64;
const BALANCE_REL = 1.5;
const CACHE_THRESHOLD = 0.3;

export const smgCacheAware: PolicyDefinition = {
  name: "smg-cache-aware",
  about: "SMG: the longest match over 0.3, unless requests are imbalanced by 64 and 1.5 times.",
  create(context) {
    const books = new PrefixBooks(context);
    const choose = (request: RoutedRequest): number => {
      const { requests, cachedTokens } = books;
      const max = requests.reduce((a, b) => Math.max(a, b));
      const min = requests.reduce((a, b) => Math.min(a, b));
      if (max - min > BALANCE_ABS && max > BALANCE_REL * min)
        return cheapest(context, (slot) => requests[slot]!);
      const longest = cheapest(context, (slot) => -cachedTokens[slot]!);
      const ratio = cachedTokens[longest]! / request.inference.promptTokens;
      if (ratio > CACHE_THRESHOLD) return longest;
      return cheapest(context, (slot) => books.tree.heldBlocks(slot));
    };
    return {
      choose(request) {
        books.match(request);
        return books.send(request, choose(request));
      },
      finished: (request) => books.ended(request),
      shed: (request) => books.ended(request),
    };
  },
};

const MEAN_PREFILL_TOKENS = 1_024;
const TOKENS_PER_S = 2_000;
const KV_WEIGHT_S = 0.15;
const KV_USAGE_MAX = 0.999;

export const smgLeastLoad: PolicyDefinition = {
  name: "smg-least-load",
  about: "SMG: the least seconds of queued and unseen work, with a barrier as KV memory fills.",
  create(context: PolicyContext) {
    const { endpointCount } = context;
    const waiting = new Float64Array(endpointCount);
    const usage = new Float64Array(endpointCount);
    const unseenTokens = new Float64Array(endpointCount);
    const costOf = (slot: number): number => {
      const k = Math.min(KV_USAGE_MAX, usage[slot]!);
      const tokens = waiting[slot]! * MEAN_PREFILL_TOKENS + unseenTokens[slot]!;
      return tokens / TOKENS_PER_S + (KV_WEIGHT_S * k) / (1 - k);
    };
    return {
      choose({ inference }) {
        const slot = cheapest(context, costOf);
        unseenTokens[slot]! += inference.promptTokens;
        return [slot];
      },
      sampled(slot, sample) {
        waiting[slot] = sample.waiting ?? 0;
        usage[slot] = sample.kvUsage ?? 0;
        unseenTokens[slot] = 0;
      },
    };
  },
};
