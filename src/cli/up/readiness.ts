// When a run counts as healthy: the Worker answers, and the pools' objects hear of every engine.

import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { errorMessage, type AdminClient } from "../admin-client.ts";
import { CliError, describeError } from "../cli-error.ts";

const HEALTHY_MS_MAX = 30_000;
const POLL_INTERVAL_MS = 50;
const PROBE_MS_MAX = 2_000;

/** Of a pool's state, what readiness depends on. */
const poolStateSchema = z.object({
  endpoints: z.array(z.object({ address: z.string(), isFresh: z.boolean() })),
  agents: z.array(z.object({ role: z.string() })),
});

/** Calls `probe` until it gives undefined; its last complaint is the reason of the failure. */
async function until(what: string, probe: () => Promise<string | undefined>): Promise<void> {
  const deadline = performance.now() + HEALTHY_MS_MAX;
  for (;;) {
    const complaint = await probe();
    if (complaint === undefined) return;
    if (performance.now() > deadline)
      throw new CliError(`${what} after ${HEALTHY_MS_MAX / 1000} seconds: ${complaint}.`);
    await sleep(POLL_INTERVAL_MS);
  }
}

/** Waits for a 200 of GET `url`. */
export function untilAnswers(url: string): Promise<void> {
  return until(`${url} was not healthy`, async () => {
    try {
      const response = await fetch(url, { signal: AbortSignal.timeout(PROBE_MS_MAX) });
      await response.body?.cancel();
      return response.ok ? undefined : `status ${response.status}`;
    } catch (error) {
      return describeError(error);
    }
  });
}

/** Waits until the pool has a relay and a collector, and a fresh sample of each of `addresses`. */
export function untilPoolIsFresh(
  admin: AdminClient,
  pool: string,
  addresses: readonly string[],
): Promise<void> {
  return until(`Pool ${pool} was not ready`, async () => {
    const answer = await admin.call({ method: "GET", path: `/pools/${pool}` });
    if (answer.status !== 200) return errorMessage(answer);
    const parsed = poolStateSchema.safeParse(answer.body);
    if (!parsed.success) return "its state could not be read";
    const state = parsed.data;
    for (const role of ["collector", "relay"]) {
      if (!state.agents.some((agent) => agent.role === role)) return `its ${role} is not connected`;
    }
    const stale = addresses.filter(
      (address) => !state.endpoints.some((each) => each.address === address && each.isFresh),
    );
    return stale.length === 0 ? undefined : `no metrics yet from ${stale.join(", ")}`;
  });
}
