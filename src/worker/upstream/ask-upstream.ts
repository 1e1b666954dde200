// The way of a request to the upstream that was granted, in a pool that has upstreams in place of relays.

import type { UpstreamConfig } from "../../config/deployment.ts";
import { objectiveName } from "../../scheduler/flow-control/objectives.ts";
import type { Breakers } from "../../scheduler/pools/breakers.ts";
import type { Pool } from "../directory-index.ts";
import type { Leg } from "./job.ts";
import { hopsOf } from "./hops.ts";
import type { PickFacts } from "./pick-request.ts";
import type { Grant } from "./pool-picks.ts";
import { upstreamKey } from "./relay-order.ts";
import type { RelayAnswer } from "./relay-fetch.ts";
import { fetchUpstream } from "./upstream-fetch.ts";

/** The upstream that `grant` names first, as this isolate's configuration has it. */
export function grantedUpstream(
  { config: { upstreams } }: Pool,
  { endpoints }: Pick<Grant, "endpoints">,
): UpstreamConfig | undefined {
  return upstreams.find(({ name }) => name === endpoints[0]);
}

/**
 * Upstreams that are better not picked now: their breakers are open, or they have just said that they are full.
 * Of those that `tried` does not name at least one is left, a full one rather than one that is lost.
 */
export function shunnedUpstreams(
  { config: { name: pool, upstreams } }: Pool,
  tried: readonly string[],
  breakers: Breakers,
  nowMs: number,
): string[] {
  const left = upstreams.filter(({ name }) => !tried.includes(name));
  const isOpen = (each: UpstreamConfig) =>
    breakers.state(upstreamKey(pool, each), nowMs) === "open";
  const isFull = (each: UpstreamConfig) => breakers.isOverloaded(upstreamKey(pool, each), nowMs);
  const open = left.filter(isOpen);
  const shunned = left.filter((each) => isOpen(each) || isFull(each));
  const out = shunned.length < left.length ? shunned : open;
  return out.length < left.length ? out.map(({ name }) => name) : [];
}

/** `exclude`: those of the pool that have failed before, or are shunned. */
export function askUpstream(
  leg: Leg,
  { pool, prepared, claim, exclude }: Pick<PickFacts, "pool" | "prepared" | "claim" | "exclude">,
  upstream: UpstreamConfig,
): Promise<RelayAnswer> {
  const header = (name: string) => leg.headers.get(name) ?? undefined;
  return fetchUpstream({
    pool: pool.config.name,
    upstream,
    prepared,
    claim,
    objective: objectiveName(header, pool.objectives, leg.tenant),
    hops: hopsOf(leg.headers),
    isLast: pool.config.upstreams.every(
      ({ name }) => name === upstream.name || exclude.includes(name),
    ),
    requestId: leg.call.requestId,
    trace: leg.telemetry.trace,
    tracestate: leg.call.tracestate,
    env: leg.bindings,
    signal: leg.signal,
  });
}
