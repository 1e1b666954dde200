// One run of one choice in one scenario, named so that it can be sent to a thread.

import { CHOICES } from "./choices.ts";
import { shippedChoice } from "./choices/shipped.ts";
import { type RegionalFigures, regionalFiguresOf } from "./figures.ts";
import { SCENARIOS, SLO } from "./scenarios.ts";
import { simulateRegions } from "./simulation.ts";
import { type Topology, TOPOLOGY } from "./topology.ts";
import { createLoad, type RegionalLoad, REQUESTS } from "./workload.ts";

export interface RegionalJob {
  /** Name of one of SCENARIOS. */
  readonly scenario: string;
  /** Name of one of CHOICES, or NO_DIGESTS. */
  readonly choice: string;
  readonly seed: number;
  /** Times the scenario's requests a second. */
  readonly load: number;
  /** What differs from TOPOLOGY. */
  readonly topology: Partial<Topology>;
  readonly requests?: number;
}

export interface RegionalResult {
  readonly job: RegionalJob;
  readonly figures: RegionalFigures;
  readonly wallMs: number;
}

/** Ours, which reads no digests. */
export const NO_DIGESTS = "ours, no digests";

/** The last load made: jobs of several choices on one load follow each other. */
let last: { readonly key: string; readonly load: RegionalLoad } | undefined;

export function runRegionalJob(job: RegionalJob): RegionalResult {
  const startedMs = performance.now();
  const { scenario: name, seed, requests = REQUESTS } = job;
  const scenario = SCENARIOS.find((each) => each.name === name)!;
  const choice =
    job.choice === NO_DIGESTS
      ? shippedChoice({ name: NO_DIGESTS, readsDigests: false })
      : CHOICES.find((each) => each.name === job.choice)!;
  const key = `${name} ${job.load} ${seed} ${requests}`;
  if (last?.key !== key) {
    const { shares, rate } = scenario;
    last = { key, load: createLoad({ rate: rate * job.load, shares, seed, requests }) };
  }
  const outcomes = simulateRegions({
    topology: { ...TOPOLOGY, ...job.topology },
    choice,
    load: last.load,
    outages: scenario.outages ?? [],
    seed,
  });
  return {
    job,
    figures: regionalFiguresOf(outcomes, SLO),
    wallMs: performance.now() - startedMs,
  };
}
