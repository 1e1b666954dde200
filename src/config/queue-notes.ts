// What a deployment's queues come to that may not be what was meant.

import { isFlowControlOn } from "../scheduler/flow-control/of-config.ts";
import { resolvePriority } from "../scheduler/flow-control/objectives.ts";
import { DEPLOYMENT_LIMITS, type Deployment, type PoolConfig } from "./deployment.ts";
import { effectiveScheduler } from "./scheduling.ts";

interface Note {
  readonly path: readonly (string | number)[];
  readonly message: string;
}

/** Paths are those of the deployment. */
export function queueNotes(deployment: Deployment): Note[] {
  const { pools, limits } = deployment;
  const notes = pools.flatMap((pool, p) =>
    unreachedBands(pool, deployment).map((i) => ({
      path: ["pools", p, "scheduler", "flowControl", "priorityBands", i, "priority"],
      message: "no request has this priority: no tenant's ceiling and no objective below one is it",
    })),
  );
  const { waitingBodyBytesMax } = DEPLOYMENT_LIMITS;
  if (limits.bodyBytesMax <= waitingBodyBytesMax || !pools.some(hasQueue)) return notes;
  const message = `a body of more than ${waitingBodyBytesMax} bytes is refused where its pool is full: none may wait`;
  return [...notes, { path: ["limits", "bodyBytesMax"], message }];
}

function hasQueue({ scheduler }: PoolConfig): boolean {
  return isFlowControlOn(effectiveScheduler(scheduler));
}

/** Places in the list of bands. */
function unreachedBands(pool: PoolConfig, { tenants }: Deployment): number[] {
  const config = effectiveScheduler(pool.scheduler);
  const { priorityBands } = config.flowControl;
  if (priorityBands.length === 0 || !isFlowControlOn(config)) return [];
  const objectives = new Map((pool.objectives ?? []).map((each) => [each.name, each]));
  const reached = new Set<number>();
  const ceilings = new Set<number>();
  for (const tenant of tenants) {
    if (!tenant.regions.includes("*") && !tenant.regions.includes(pool.region)) continue;
    ceilings.add(tenant.priority);
    reached.add(resolvePriority(tenant, objectives.get(tenant.objective ?? "")));
  }
  for (const priority of ceilings)
    for (const objective of objectives.values())
      reached.add(resolvePriority({ priority }, objective));
  return priorityBands.flatMap((band, i) => (reached.has(band.priority) ? [] : [i]));
}
