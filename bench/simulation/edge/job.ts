// One run of one way in one scenario, named so that it can be sent to a thread.

import type { Phase } from "../workload.ts";
import { type EdgeFigures, edgeFiguresOf } from "./figures.ts";
import {
  atDistance,
  EDGE_SCENARIOS,
  type EdgeScenario,
  SHARD_WORKLOADS,
  shardScenario,
  SHARDS,
} from "./scenarios.ts";
import { simulateEdge } from "./simulation.ts";
import { type EdgeTopology, POOL, TOPOLOGY } from "./topology.ts";
import { EDGE_WORKLOADS } from "./workloads.ts";

export interface EdgeJob {
  /** Name of a scenario. */
  readonly scenario: string;
  /** Name of one of its ways. */
  readonly way: string;
  readonly seed: number;
  /** What differs from the scenario: all colos so far away, so many isolates in each. */
  readonly rttMs?: number | undefined;
  readonly isolatesPerColo?: number | undefined;
  /** For a small run. */
  readonly requests?: number;
  readonly endpointCount?: number;
}

export interface EdgeJobResult {
  readonly job: EdgeJob;
  readonly figures: EdgeFigures;
  readonly wallMs: number;
}

/** The last phase made: jobs of several ways on one load follow each other. */
let last: { readonly key: string; readonly phase: Phase } | undefined;

export function runEdgeJob(job: EdgeJob): EdgeJobResult {
  const startedMs = performance.now();
  const scenario = findScenario(job.scenario);
  const { way: name, seed, endpointCount = POOL.endpointCount } = job;
  const way = scenario.ways.find((each) => each.name === name)!;
  const workload = EDGE_WORKLOADS.find((each) => each.name === scenario.workload)!;
  const { requests = workload.requests } = job;
  const rate = workload.saturationRate * endpointCount * scenario.load;
  const key = `${workload.name} ${rate} ${requests} ${seed}`;
  if (last?.key !== key) last = { key, phase: workload.create({ rate, requests, seed }) };
  const result = simulateEdge({
    topology: topologyOf(scenario, job),
    way,
    shards: scenario.shards,
    phase: last.phase,
    seed,
    config: scenario.config,
    concurrencyMax: scenario.concurrencyMax,
  });
  const figures = edgeFiguresOf(result, workload.slo);
  return { job, figures, wallMs: performance.now() - startedMs };
}

export function findScenario(name: string): EdgeScenario {
  const sharded = SHARD_WORKLOADS.flatMap((workload) =>
    [1, SHARDS].map((shards) => shardScenario(workload, shards)),
  );
  return [...EDGE_SCENARIOS, ...sharded].find((scenario) => scenario.name === name)!;
}

function topologyOf(
  { topology }: EdgeScenario,
  { rttMs, isolatesPerColo, endpointCount = POOL.endpointCount }: EdgeJob,
): EdgeTopology {
  return {
    ...TOPOLOGY,
    ...topology,
    shape: { ...POOL, endpointCount },
    ...(rttMs === undefined ? {} : atDistance(rttMs)),
    ...(isolatesPerColo === undefined ? {} : { isolatesPerColo }),
  };
}
