// The upstreams of a pool, as its object needs them: endpoints that the configuration names, and where
// their loads are read. It holds no key with which they are asked for answers.

import { z } from "zod";
import type { PoolConfig, UpstreamConfig } from "../../config/deployment.ts";
import { UPSTREAM_LIMITS } from "../../config/upstreams.ts";

const text = z.string().max(2_048);

const metricsSchema = z.object({
  url: text,
  kvUsage: text,
  queueSize: text,
  intervalMs: z.number().min(200).max(60_000),
  token: text.optional(),
  /** Of the object's environment. */
  binding: text.optional(),
});

const upstreamSchema = z.object({
  /** Also its address: see upstreamEndpoint. */
  name: z.string().min(1).max(256),
  kind: z.string().max(64),
  labels: z.record(z.string(), z.string()),
  metrics: metricsSchema.optional(),
});

export type PoolUpstream = Readonly<z.output<typeof upstreamSchema>>;
export type UpstreamMetrics = Readonly<z.output<typeof metricsSchema>>;

/** What the directory tells the pool's object; nothing of a pool that has relays. */
export function upstreamsOf({ upstreams }: Pick<PoolConfig, "upstreams">): {
  readonly upstreams?: readonly PoolUpstream[];
} {
  return upstreams.length === 0 ? {} : { upstreams: upstreams.map(told) };
}

function told({ name, kind, labels, metrics, binding }: UpstreamConfig): PoolUpstream {
  if (metrics === undefined) return { name, kind, labels };
  const read = binding === undefined ? metrics : { ...metrics, binding };
  return { name, kind, labels, metrics: read };
}

/**
 * Upstreams as this release reads them, from the directory or from storage: what is of another release's
 * form is left out.
 */
export function readUpstreams(written: unknown): { readonly upstreams?: readonly PoolUpstream[] } {
  if (!Array.isArray(written) || written.length === 0) return {};
  const upstreams = written
    .slice(0, UPSTREAM_LIMITS.upstreamsPerPoolMax)
    .flatMap((each) => upstreamSchema.safeParse(each).data ?? []);
  return { upstreams };
}

/**
 * The endpoint that an upstream is. Its address is its name, and no `host:port`: two upstreams may differ
 * in path, key or binding alone, and what clients are shown of it tells nobody where it is.
 */
export function upstreamEndpoint({ name, kind, labels }: PoolUpstream) {
  return { id: name, address: name, engine: kind, labels };
}
