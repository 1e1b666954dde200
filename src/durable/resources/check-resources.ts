// What a pool's cluster says, by the configuration's own schemas: what is mistaken there is mistaken here.

import type { z } from "zod";
import type { ResourcesPayload } from "../../agents/protocol/resources.ts";
import {
  type ClusterResourceKind,
  formatPath,
  type ObjectiveConfig,
  objectiveSchema,
} from "../../config/deployment.ts";
import { type ModelRewriteConfig, rewriteSchema } from "../../scheduler/rewrite/config.ts";
import type { IgnoredResource } from "../state.ts";
import type { PoolResources } from "../directory/contract.ts";

/** What holds of a cluster's resources. */
export type CheckedResources = Pick<PoolResources, "objectives" | "rewrites">;

export interface Checked {
  readonly resources: CheckedResources;
  readonly mistaken: Readonly<Record<ClusterResourceKind, readonly IgnoredResource[]>>;
}

export const NOTHING: Checked = {
  resources: { objectives: [], rewrites: [] },
  mistaken: { objectives: [], rewrites: [] },
};

/**
 * What is told, in place of `before`. A kind that is not told stays as it was; and so does a resource that
 * has become mistaken, until it is right again or gone.
 */
export function checkResources(told: ResourcesPayload, before: Checked): Checked {
  const { objectives, rewrites } = before.resources;
  const checkedObjectives =
    told.objectives && check<ObjectiveConfig>(told.objectives, objectiveSchema, objectives);
  const checkedRewrites =
    told.rewrites && check<ModelRewriteConfig>(told.rewrites, rewriteSchema, rewrites);
  return {
    resources: {
      objectives: checkedObjectives?.good ?? objectives,
      rewrites: checkedRewrites?.good ?? rewrites,
    },
    mistaken: {
      objectives: checkedObjectives?.mistaken ?? before.mistaken.objectives,
      rewrites: checkedRewrites?.mistaken ?? before.mistaken.rewrites,
    },
  };
}

function check<Resource extends { readonly name: string }>(
  told: readonly { readonly name: string }[],
  schema: z.ZodType<Resource>,
  before: readonly Resource[],
): { readonly good: Resource[]; readonly mistaken: IgnoredResource[] } {
  const good = new Map<string, Resource>();
  const mistaken: IgnoredResource[] = [];
  for (const resource of told) {
    const { name } = resource;
    // A cluster has each name once.
    if (good.has(name)) continue;
    const parsed = schema.safeParse(resource);
    if (parsed.success) {
      good.set(name, parsed.data);
      continue;
    }
    const [issue] = parsed.error.issues;
    const path = formatPath(issue!.path);
    const why = path === "" ? issue!.message : `${path}: ${issue!.message}`;
    const last = before.find((known) => known.name === name);
    if (last !== undefined) good.set(name, last);
    mistaken.push({
      name,
      why: last === undefined ? why : `${why}; its last good form is in force`,
    });
  }
  return { good: [...good.values()], mistaken };
}
