// Asks whoever starts endpoints for some, because requests wait in a pool that has none. The pool's object
// says who asks and when, so that it is asked once for all that wait.

import type { PoolConfig } from "../../config/deployment.ts";
import { METRIC } from "../../telemetry/names.ts";
import { metrics } from "../metrics.ts";

/** For each of the two tries. */
export const WEBHOOK_DEADLINE_MS = 5_000;
const TRIES_MAX = 2;
/** The pause before the second try is anything below this. */
const RETRY_PAUSE_MS = 500;

export interface CapacityAsk {
  readonly pool: string;
  /** What the engines are to serve. */
  readonly model: string;
  readonly reason: "no-endpoints";
  /** RFC 3339. */
  readonly at: string;
}

type Webhook = NonNullable<PoolConfig["capacityWebhook"]>;

/** Sends it once more if it fails. Never rejects; nobody's request waits for it. */
export async function askForCapacity(webhook: Webhook, ask: CapacityAsk): Promise<void> {
  for (let tries = 1; ; tries++) {
    const outcome = await post(webhook, ask);
    if (outcome === "accepted" || tries === TRIES_MAX) {
      return metrics.inc(METRIC.capacityAsksTotal, { outcome });
    }
    await new Promise((resolve) => setTimeout(resolve, Math.random() * RETRY_PAUSE_MS));
  }
}

async function post(
  { url, token }: Webhook,
  ask: CapacityAsk,
): Promise<"accepted" | "refused" | "unreachable"> {
  try {
    const response = await fetch(url, {
      method: "POST",
      headers: {
        "content-type": "application/json",
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      },
      body: JSON.stringify(ask),
      // The token is for this address only.
      redirect: "manual",
      signal: AbortSignal.timeout(WEBHOOK_DEADLINE_MS),
    });
    await response.body?.cancel();
    return response.ok ? "accepted" : "refused";
  } catch {
    // Refused, reset, unresolved, no TLS, or out of time.
    return "unreachable";
  }
}
