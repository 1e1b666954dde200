// Measures how far pools are, behind the requests that could go to them; see rtt-meter.ts.

import { fetcherOf } from "../../config/bindings.ts";
import type { PoolConfig } from "../../config/deployment.ts";
import type { Pool } from "../directory-index.ts";
import type { Breakers } from "../../scheduler/pools/breakers.ts";
import type { RttMeter, SendProbe } from "./rtt-meter.ts";

/** Others wait for the next request: a request of many pools is not to send as many probes. */
export const PROBES_PER_REQUEST_MAX = 2;

export interface Probing {
  readonly rtts: Pick<RttMeter, "takeTurn" | "probe">;
  readonly breakers: Pick<Breakers, "record">;
  /** With the bindings that upstreams name. */
  readonly env: object;
  /** Keeps the request's context alive. */
  readonly hold: (work: Promise<void>) => void;
}

/** Begins what is due. */
export function probePools(pools: readonly Pick<Pool, "config">[], probing: Probing): void {
  let begun = 0;
  for (const { config } of pools) {
    if (begun === PROBES_PER_REQUEST_MAX) return;
    if (!probing.rtts.takeTurn(config.name, Date.now())) continue;
    begun++;
    probing.hold(probePool(config, probing));
  }
}

async function probePool(config: PoolConfig, { rtts, breakers, env }: Probing): Promise<void> {
  const { name, relays } = config;
  const outcome = await rtts.probe(name, doorOf(config, env));
  // What is not a relay may break off a HEAD, and serve all the same.
  if (outcome !== "broken" || relays.length !== 1) return;
  const report = { permit: undefined, outcome: "failure", isFatal: true } as const;
  breakers.record(name, report, Date.now(), Math.random);
}

/** Any of its doors: the least of several probes is the way to the nearest. */
function doorOf({ relays, upstreams }: PoolConfig, env: object): SendProbe {
  const doors = relays.length > 0 ? relays : upstreams;
  const door = doors[Math.floor(Math.random() * doors.length)];
  if (door === undefined) return () => Promise.reject(new Error("the pool has no door"));
  const name = "binding" in door ? door.binding : undefined;
  const init = { method: "HEAD", redirect: "manual" } as const;
  const binding = name === undefined ? undefined : fetcherOf<Fetcher>(env, name);
  return (signal) =>
    binding === undefined
      ? fetch(door.url, { ...init, signal })
      : binding.fetch(door.url, { ...init, signal });
}
