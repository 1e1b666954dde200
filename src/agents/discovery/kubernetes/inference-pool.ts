// InferencePool resources, of the group that has become stable and of the one before.
//
//   inference.networking.k8s.io/v1           selector.matchLabels, targetPorts: [{ number }]
//   inference.networking.x-k8s.io/v1alpha2   selector: { LABEL: VALUE }, targetPortNumber

import { z } from "zod";
import { metadataSchema } from "./object.ts";

export const POOL_GROUPS = [
  "inference.networking.k8s.io",
  "inference.networking.x-k8s.io",
] as const;
export type PoolGroup = (typeof POOL_GROUPS)[number];
const VERSION: Readonly<Record<PoolGroup, string>> = {
  "inference.networking.k8s.io": "v1",
  "inference.networking.x-k8s.io": "v1alpha2",
};

/** Which pods are the pool's, and where they serve. */
export interface PoolSpecification {
  /** As the API server takes it. */
  readonly labelSelector: string;
  /** In the order of ranks. */
  readonly targetPorts: readonly number[];
}

/** As the resource's own validation has it. */
const TARGET_PORTS_MAX = 8;
const port = z.int().min(1).max(65_535);
const matchLabels = z
  .record(z.string(), z.string())
  .refine((labels) => Object.keys(labels).length > 0, "it would select every pod");
const ports = z
  .array(z.object({ number: port }))
  .min(1)
  .max(TARGET_PORTS_MAX);
const specSchemas: Readonly<Record<PoolGroup, z.ZodType<{ labels: Labels; ports: number[] }>>> = {
  "inference.networking.k8s.io": z
    .object({ selector: z.object({ matchLabels }), targetPorts: ports })
    .transform(({ selector, targetPorts }) => ({
      labels: selector.matchLabels,
      ports: targetPorts.map(({ number }) => number),
    })),
  "inference.networking.x-k8s.io": z
    .object({ selector: matchLabels, targetPortNumber: port })
    .transform(({ selector, targetPortNumber }) => ({
      labels: selector,
      ports: [targetPortNumber],
    })),
};
type Labels = Record<string, string>;

export function poolsPath(group: PoolGroup, namespace: string): string {
  return `/apis/${group}/${VERSION[group]}/namespaces/${namespace}/inferencepools`;
}

/** A specification, or what is wrong with the resource. */
export type ParsedPool =
  | { readonly ok: true; readonly specification: PoolSpecification }
  | { readonly ok: false; readonly mistake: string };

export function parsePool(group: PoolGroup, object: unknown): ParsedPool | undefined {
  const outer = z.object({ metadata: metadataSchema, spec: z.unknown() }).safeParse(object);
  if (!outer.success) return undefined;
  const spec = specSchemas[group].safeParse(outer.data.spec);
  if (!spec.success) {
    const [issue] = spec.error.issues;
    return { ok: false, mistake: `spec.${issue!.path.join(".")}: ${issue!.message}` };
  }
  const { labels, ports: targetPorts } = spec.data;
  const labelSelector = Object.entries(labels)
    .map(([name, value]) => `${name}=${value}`)
    .sort()
    .join(",");
  return { ok: true, specification: { labelSelector, targetPorts } };
}
