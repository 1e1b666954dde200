// One run of one policy, named so that it can be sent to a thread.

import { POLICIES } from "./policies.ts";
import { type Figures, figuresOf } from "./outcome.ts";
import { DEFAULT_SHAPE } from "./pool-shape.ts";
import { simulate } from "./simulation.ts";
import type { Phase, Workload } from "./workload.ts";
import { WORKLOADS } from "./workloads.ts";

export interface Job {
  /** Name of one of WORKLOADS. */
  readonly workload: string;
  /** Requests a second. */
  readonly rate: number;
  /** The same as a share of the workload's saturation rate. */
  readonly load: number;
  /** Name of one of POLICIES. */
  readonly policy: string;
  readonly seed: number;
  readonly endpointCount: number;
}

export interface JobResult {
  readonly job: Job;
  readonly figures: Figures;
  /** Of the machine that simulates. */
  readonly wallMs: number;
}

/** The last workload made: jobs of several policies on one workload follow each other. */
let last: { readonly key: string; readonly phases: readonly Phase[] } | undefined;

export function runJob(job: Job, workloads: readonly Workload[] = WORKLOADS): JobResult {
  const startedMs = performance.now();
  const workload = workloads.find(({ name }) => name === job.workload)!;
  const policy = POLICIES.find(({ name }) => name === job.policy)!;
  const shape = { ...DEFAULT_SHAPE, endpointCount: job.endpointCount };
  const key = `${job.workload} ${job.rate} ${job.seed}`;
  if (last?.key !== key) last = { key, phases: workload.create(job.rate, job.seed) };
  const result = simulate({ shape, policy, phases: last.phases, seed: job.seed });
  const figures = figuresOf(result, workload.slo);
  return { job, figures, wallMs: performance.now() - startedMs };
}
