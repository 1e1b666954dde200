// locality-fairness: of the flows that have credit, serve the one whose next request is cached best.
//
//   credit    = least counter + quantum − counter       counters as weighted-token-fairness keeps them
//   candidates: flows with credit, at most MATCHES_MAX of them, those served least first
//   chosen    : most tokens of its next request's prompt held by some endpoint; of equals the least served
//
// Source: Cao et al., Locality-aware Fair Scheduling in LLM Serving (DLPM, D2LPM), 2025. Ours. There
// credits are refilled when nobody has any; here they follow the least counter, which is the same but
// for the moment of the refill. A flow is ahead of another by up to a quantum more than under
// weighted-token-fairness. The credit that D2LPM keeps by endpoint, too, is left to the scheduler's
// scorers: they choose the endpoint, and weigh its load. What is cached is known by up to 128 keys of a
// request, so a match is a guess downwards. Costs up to MATCHES_MAX lookups a request.

import { z } from "zod";
import type { BandFairness, FairnessContext, FlowView } from "../../flow-control/contracts.ts";
import { TokenCounters } from "../../flow-control/token-counters.ts";
import { defineFairnessPolicy } from "../../plugin.ts";

/** Requests whose match is looked up for one choice. */
export const MATCHES_MAX = 16;

class LocalityBand implements BandFairness {
  readonly #counters: TokenCounters;
  readonly #quantumTokens: number;
  /** Places of the heap of counters that are still to be looked at. */
  readonly #places = new Int32Array(2 * MATCHES_MAX);

  constructor(outputWeight: number, quantumTokens: number) {
    this.#counters = new TokenCounters(outputWeight);
    this.#quantumTokens = quantumTokens;
  }

  joined(flow: FlowView): void {
    this.#counters.joined(flow);
  }

  left(flow: FlowView): void {
    this.#counters.left(flow);
  }

  /** Walks down the heap: no place is looked at before those above it, which were served less. */
  choose({ matchTokens }: FairnessContext): FlowView | undefined {
    const counters = this.#counters;
    const least = counters.least;
    if (least === undefined || matchTokens === undefined) return least?.flow;
    const limit = least.tokens + this.#quantumTokens;
    const places = this.#places;
    let best = least;
    let bestMatch = -1;
    let ahead = 1;
    places[0] = 0;
    for (let seen = 0; seen < ahead && seen < MATCHES_MAX; seen++) {
      const place = places[seen]!;
      const counter = counters.at(place);
      if (counter === undefined || (counter.tokens >= limit && place > 0)) continue;
      const match = matchTokens(counter.flow.head!.request);
      const isBetter = match > bestMatch || (match === bestMatch && counter.tokens < best.tokens);
      if (isBetter) [best, bestMatch] = [counter, match];
      if (ahead + 2 > places.length) continue;
      places[ahead++] = 2 * place + 1;
      places[ahead++] = 2 * place + 2;
    }
    return best.flow;
  }

  dispatched(flow: FlowView, request: Parameters<TokenCounters["reserve"]>[1]): void {
    this.#counters.reserve(flow, request);
  }

  settled(
    flow: FlowView,
    { request, usage }: Parameters<Required<BandFairness>["settled"]>[1],
  ): void {
    this.#counters.settle(flow, request, usage);
  }

  debts(): ReadonlyMap<string, number> {
    return this.#counters.debts();
  }

  restore(debts: ReadonlyMap<string, number>): void {
    this.#counters.restore(debts);
  }

  forgotten(flow: FlowView): void {
    this.#counters.forget(flow);
  }
}

export const localityFairness = defineFairnessPolicy({
  type: "locality-fairness",
  role: "fairness policy",
  stability: "fairlead",
  params: z.strictObject({
    outputWeight: z
      .number()
      .min(0)
      .max(100)
      .default(2)
      .describe("What a token of the answer costs, in uncached tokens of a prompt"),
    quantumTokens: z
      .int()
      .min(1)
      .default(32_768)
      .describe("Tokens that a flow may be ahead of the one served least, for its cache's sake"),
  }),
  create: ({ outputWeight, quantumTokens }) => ({
    forBand: () => new LocalityBand(outputWeight, quantumTokens),
  }),
});
