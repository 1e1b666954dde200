// program-aware-fairness: serve the flow that was given least, recent service counting most.
//
//   service  += prompt tokens + 2 × completion tokens, when a request ends; halved every lasHalfLifeSeconds
//   score     = lasWeightService × (1 − norm(service)) + lasWeightHeadWait × norm(head wait)
//   norm(v)   = (v − min) / (max − min) over the flows that wait; 0.5 where all are alike
//
// Source: llm-d-router pkg/epp/framework/plugins/flowcontrol/fairness/program-aware. A program is a
// fairness id. There what is known of a program stays while one of its requests is in flight, for ever
// if that is abandoned; here it is dropped evictionTtlSeconds after its last service, whatever is in
// flight, and the programs known are at most PROGRAMS_MAX: the one served longest ago goes first. A
// request under way counts for nothing yet, so a burst of one program passes before it is held
// against it; weighted-token-fairness reserves. O(flows) a request.

import { z } from "zod";
import type {
  BandFairness,
  FairnessContext,
  FlowView,
  SettledRequest,
} from "../../flow-control/contracts.ts";
import { defineFairnessPolicy } from "../../plugin.ts";

/** Programs that a band remembers. */
export const PROGRAMS_MAX = 16_384;
/** Beyond it everything is brought back to scale. */
const WEIGHT_MAX = 2 ** 200;
const COMPLETION_WEIGHT = 2;

const params = z.strictObject({
  strategy: z.literal("las").default("las").describe("Least attained service"),
  lasWeightService: z.number().min(0).default(0.8).describe("Weight of little service"),
  lasWeightHeadWait: z.number().min(0).default(0.2).describe("Weight of a long wait"),
  lasHalfLifeSeconds: z.number().min(0).default(60).describe("0: service is never forgotten"),
  evictionTtlSeconds: z.number().min(0).default(3600).describe("0: flows are never forgotten"),
  evictionSweepSeconds: z.number().positive().default(300).describe("Between two sweeps"),
});
type Params = z.output<typeof params>;

interface Program {
  /** In tokens of `#epochMs`: instead of halving all, what is new counts more. */
  service: number;
  servedAtMs: number;
}

class ProgramBand implements BandFairness {
  readonly #params: Params;
  readonly #waiting = new Set<FlowView>();
  /** Those served longest ago first. */
  readonly #programs = new Map<string, Program>();
  #epochMs = 0;
  #sweptAtMs = 0;

  constructor(given: Params) {
    this.#params = given;
  }

  /** What a program was given is known by its id: who was away has lost nothing. */
  joined(flow: FlowView): void {
    this.#waiting.add(flow);
  }

  left(flow: FlowView): void {
    this.#waiting.delete(flow);
  }

  choose({ nowMs }: FairnessContext): FlowView | undefined {
    const service = new Range();
    const wait = new Range();
    for (const flow of this.#waiting) {
      service.include(this.#serviceOf(flow));
      wait.include(nowMs - flow.head!.enqueuedAtMs);
    }
    const { lasWeightService, lasWeightHeadWait } = this.#params;
    let best: FlowView | undefined;
    let bestScore = -Infinity;
    for (const flow of this.#waiting) {
      const least = 1 - service.norm(this.#serviceOf(flow));
      const longest = wait.norm(nowMs - flow.head!.enqueuedAtMs);
      const score = lasWeightService * least + lasWeightHeadWait * longest;
      if (score > bestScore) [best, bestScore] = [flow, score];
    }
    return best;
  }

  settled({ fairnessId }: FlowView, { usage, nowMs }: SettledRequest): void {
    this.#sweep(nowMs);
    const tokens = usage.promptTokens + COMPLETION_WEIGHT * usage.outputTokens;
    const service = this.#programs.get(fairnessId)?.service ?? 0;
    this.#programs.delete(fairnessId);
    this.#programs.set(fairnessId, {
      service: service + tokens * this.#weightAt(nowMs),
      servedAtMs: nowMs,
    });
    if (this.#programs.size > PROGRAMS_MAX)
      this.#programs.delete(this.#programs.keys().next().value!);
  }

  #serviceOf({ fairnessId }: FlowView): number {
    return this.#programs.get(fairnessId)?.service ?? 0;
  }

  /** What a token counts now: comparing needs no other scale. */
  #weightAt(nowMs: number): number {
    const halfLifeMs = this.#params.lasHalfLifeSeconds * 1_000;
    if (halfLifeMs === 0) return 1;
    if (this.#epochMs === 0) this.#epochMs = nowMs;
    const weight = 2 ** ((nowMs - this.#epochMs) / halfLifeMs);
    if (weight < WEIGHT_MAX) return weight;
    for (const program of this.#programs.values()) program.service /= weight;
    this.#epochMs = nowMs;
    return 1;
  }

  #sweep(nowMs: number): void {
    const { evictionTtlSeconds, evictionSweepSeconds } = this.#params;
    if (evictionTtlSeconds === 0 || nowMs - this.#sweptAtMs < evictionSweepSeconds * 1_000) return;
    this.#sweptAtMs = nowMs;
    for (const [fairnessId, { servedAtMs }] of this.#programs) {
      if (nowMs - servedAtMs <= evictionTtlSeconds * 1_000) return;
      this.#programs.delete(fairnessId);
    }
  }
}

class Range {
  #min = Infinity;
  #max = -Infinity;

  include(value: number): void {
    this.#min = Math.min(this.#min, value);
    this.#max = Math.max(this.#max, value);
  }

  norm(value: number): number {
    return this.#max === this.#min ? 0.5 : (value - this.#min) / (this.#max - this.#min);
  }
}

export const programAwareFairness = defineFairnessPolicy({
  type: "program-aware-fairness",
  role: "fairness policy",
  params,
  create: (given) => ({ forBand: () => new ProgramBand(given) }),
});
