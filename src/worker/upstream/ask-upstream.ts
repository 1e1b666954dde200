// The way of a request to the upstream that was granted, in a pool that has upstreams in place of relays.

import type { UpstreamConfig } from "../../config/deployment.ts";
import { objectiveName } from "../../scheduler/flow-control/objectives.ts";
import type { Breakers } from "../../scheduler/pools/breakers.ts";
import type { Pool } from "../directory-index.ts";
import type { Leg } from "./job.ts";
import { hopsOf } from "./hops.ts";
import type { PickFacts } from "./pick-request.ts";
import type { Grant } from "./pool-picks.ts";
import type { RelayAnswer } from "./relay-fetch.ts";
import { fetchUpstream } from "./upstream-fetch.ts";

/** The upstream that `grant` names first, as this isolate's configuration has it. */
export function grantedUpstream(
  { config: { upstreams } }: Pool,
  { endpoints }: Pick<Grant, "endpoints">,
): UpstreamConfig | undefined {
  return upstreams.find(({ name }) => name === endpoints[0]);
}

/** Upstreams that are not to be picked, because their breakers are open; none where all are. */
export function openUpstreams(
  { config: { upstreams } }: Pool,
  breakers: Breakers,
  nowMs: number,
): string[] {
  const open = upstreams.filter(({ url }) => breakers.state(url, nowMs) === "open");
  return open.length === upstreams.length ? [] : open.map(({ name }) => name);
}

/** `exclude`: what has failed of the pool before. */
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
