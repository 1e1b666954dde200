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
  const begunAtMs = Date.now();
  const send = doorOf(config, env);
  let isFatal = false;
  const outcome = await rtts.probe(name, (signal) =>
    send(signal).catch((error: unknown) => {
      isFatal = isConnectionLost(error);
      throw error;
    }),
  );
  // What is not a relay may break off a HEAD, and serve all the same.
  if (outcome !== "broken" || relays.length !== 1) return;
  // As of a request that was let pass: a breaker that is open knows already, and its lease is not prolonged.
  const report = { permit: "pass", outcome: "failure", isFatal, begunAtMs } as const;
  breakers.record(name, report, Date.now(), Math.random);
}

/** Other errors may be the platform's own, such as too many subrequests: they count, and open nothing at once. */
function isConnectionLost(error: unknown): boolean {
  return error instanceof Error && /^network connection lost/i.test(error.message);
}

/** Any of its doors: the least of several probes is the way to the nearest. */
function doorOf({ relays, upstreams }: PoolConfig, env: object): SendProbe {
  const doors = relays.length > 0 ? relays : upstreams;
  const door = doors[Math.floor(Math.random() * doors.length)];
  if (door === undefined) return () => Promise.reject(new Error("the pool has no door"));
  const { url } = door;
  const init = { method: "HEAD", redirect: "manual" } as const;
  const name = "binding" in door ? door.binding : undefined;
  if (name === undefined) return (signal) => fetch(url, { ...init, signal });
  const binding = fetcherOf<Fetcher>(env, name);
  // Its URL is a name behind the binding; on the internet it is somebody else's.
  if (binding === undefined) return () => Promise.reject(new Error(`no binding ${name}`));
  return (signal) => binding.fetch(url, { ...init, signal });
}
