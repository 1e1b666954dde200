// locality-fairness: of the flows that have credit, serve the one whose next request is cached best.
//
//   credit    = least counter + quantum − counter       counters as weighted-token-fairness keeps them
//   candidates: flows with credit: the LAST_MAX served last, and the LEAST_MAX served least
//   chosen    : most tokens of its next request's prompt held by some endpoint; of equals the least served
//
// Source: Cao et al., Locality-aware Fair Scheduling in LLM Serving (DLPM, D2LPM), 2025. Ours. There
// credits are refilled when nobody has any, and all that wait are looked at; here credits follow the least
// counter, which is the same but for the moment of the refill, and a bounded number is looked at: those
// served last, because what they use is hot, and those served least, because it is their turn. A flow is
// ahead of another by up to a quantum more than under weighted-token-fairness. The credit that D2LPM keeps
// by endpoint, too, is left to the scheduler's scorers: they choose the endpoint, and weigh its load. What
// is cached is known by up to 128 keys of a request, so a match is a guess downwards. It helps where
// flows ask about the same text several times in a row; where each request is about another one it
// is weighted-token-fairness with a wider bound. A match is looked up anew after MATCH_AGE_MS_MAX, so
// that a request that is let through costs one or two look-ups when many are.

import { z } from "zod";
import type {
  AttainedService,
  BandFairness,
  FairnessContext,
  FlowView,
  QueuedRequest,
} from "../../flow-control/contracts.ts";
import { type Counter, TokenCounters } from "../../flow-control/token-counters.ts";
import { defineFairnessPolicy } from "../../plugin.ts";

/** Flows that are looked at because they were served last: what they use is hot. */
const LAST_MAX = 16;
/** And because they were served least. */
const LEAST_MAX = 16;
/** Requests whose match is looked at for one choice. */
export const MATCHES_MAX = LAST_MAX + LEAST_MAX;
/** A match that was looked up longer ago is looked up again: caches change. */
export const MATCH_AGE_MS_MAX = 100;

interface HeadMatch {
  readonly request: QueuedRequest;
  readonly tokens: number;
  readonly atMs: number;
}

/** What is cached of the next requests of flows. */
class HeadMatches {
  readonly #byFlow = new Map<FlowView, HeadMatch>();

  tokens(flow: FlowView, { nowMs, matchTokens }: LookUp): number {
    const { request } = flow.head!;
    const known = this.#byFlow.get(flow);
    if (known?.request === request && nowMs - known.atMs < MATCH_AGE_MS_MAX) return known.tokens;
    const tokens = matchTokens(request);
    this.#byFlow.set(flow, { request, tokens, atMs: nowMs });
    return tokens;
  }

  forget(flow: FlowView): void {
    this.#byFlow.delete(flow);
  }
}

type LookUp = Required<FairnessContext>;

/** The best that a choice has seen so far. */
interface Best {
  counter: Counter;
  match: number;
}

class LocalityBand implements BandFairness {
  readonly #counters: TokenCounters;
  readonly #quantumTokens: number;
  /** Places of the heap of counters that are still to be looked at. */
  readonly #places = new Int32Array(2 * LEAST_MAX);
  /** Flows served last, the last one last. */
  readonly #last = new Set<FlowView>();
  readonly #matches = new HeadMatches();

  constructor(outputWeight: number, quantumTokens: number) {
    this.#counters = new TokenCounters(outputWeight);
    this.#quantumTokens = quantumTokens;
  }

  joined(flow: FlowView, wasAway: boolean): void {
    this.#counters.joined(flow, wasAway);
  }

  left(flow: FlowView): void {
    this.#counters.left(flow);
    this.#matches.forget(flow);
  }

  choose({ nowMs, matchTokens }: FairnessContext): FlowView | undefined {
    const { least } = this.#counters;
    if (least === undefined || matchTokens === undefined) return least?.flow;
    const best: Best = { counter: least, match: -1 };
    const lookUp = { nowMs, matchTokens };
    for (const flow of this.#last) {
      const counter = this.#counters.of(flow);
      if (counter !== undefined && counter.index >= 0) this.#consider(counter, lookUp, best);
    }
    this.#considerLeast(lookUp, best);
    return best.counter.flow;
  }

  /** Walks down the heap: no place is looked at before those above it, which were served less. */
  #considerLeast(lookUp: LookUp, best: Best): void {
    const places = this.#places;
    let ahead = 1;
    places[0] = 0;
    for (let seen = 0; seen < ahead && seen < LEAST_MAX; seen++) {
      const place = places[seen]!;
      const counter = this.#counters.at(place);
      if (counter === undefined || !this.#hasCredit(counter)) continue;
      if (!this.#last.has(counter.flow)) this.#consider(counter, lookUp, best);
      if (ahead + 2 > places.length) continue;
      places[ahead++] = 2 * place + 1;
      places[ahead++] = 2 * place + 2;
    }
  }

  #consider(counter: Counter, lookUp: LookUp, best: Best): void {
    if (!this.#hasCredit(counter)) return;
    const match = this.#matches.tokens(counter.flow, lookUp);
    if (match < best.match) return;
    if (match === best.match && counter.tokens >= best.counter.tokens) return;
    best.counter = counter;
    best.match = match;
  }

  #hasCredit({ tokens }: Counter): boolean {
    const least = this.#counters.least!.tokens;
    return tokens === least || tokens < least + this.#quantumTokens;
  }

  dispatched(flow: FlowView, request: Parameters<TokenCounters["reserve"]>[1]): void {
    this.#counters.reserve(flow, request);
    this.#last.delete(flow);
    this.#last.add(flow);
    if (this.#last.size > LAST_MAX) this.#last.delete(this.#last.values().next().value!);
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

  attained(): readonly AttainedService[] {
    return this.#counters.attained();
  }

  servedElsewhere(tokens: ReadonlyMap<string, number>): void {
    this.#counters.servedElsewhere(tokens);
  }

  forgotten(flow: FlowView): void {
    this.#counters.forget(flow);
    this.#last.delete(flow);
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
