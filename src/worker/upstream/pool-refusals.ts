// What a pool's outcome is where nobody of it answers.

import { dropError } from "../openai/errors.ts";
import { clientLeft, type Leg, type PoolOutcome } from "./job.ts";
import type { RelayAnswer } from "./relay-fetch.ts";

/** What a request has met in one pool. */
export interface Met {
  /** It was sent, and failed: an engine may have worked for it. */
  hasFailed: boolean;
  /** What the last upstream that was full asks for; 0 if it does not say. */
  fullForMs: number | undefined;
}

/** The end of a pool that has nobody left to ask. `why` counts where nothing has failed, and nobody was full. */
export function nobodyLeft({ fullForMs, hasFailed }: Met, why: "refused" | "failed"): PoolOutcome {
  if (fullForMs === undefined) return refused("upstream_unavailable", hasFailed ? "failed" : why);
  const error = dropError("rejected-saturated", fullForMs || FULL_MS);
  return { ok: false, error, why: hasFailed ? "failed" : "full" };
}

/** What a client is asked to wait for where a full upstream does not say. */
const FULL_MS = 1_000;

/** What a client is told where no other pool is to be asked. */
export function stopped(
  { telemetry }: Leg,
  answer: Exclude<RelayAnswer, { kind: "answered" }>,
): PoolOutcome {
  if (answer.kind !== "declined") return clientLeft();
  telemetry.facts.detail = answer.code;
  if (answer.code === "evicted") {
    // For a request of a higher priority, which is there in every pool of the model: it waits its turn.
    return { ok: false, error: dropError("evicted", answer.retryAfterMs), why: "final" };
  }
  if (answer.code === "upstream-loop") {
    const error = { code: "loop_detected", message: LOOP, param: null, retryAfterS: null } as const;
    return { ok: false, error, why: "final" };
  }
  return refused(answer.code === "engine-timeout" ? "engine_timeout" : "relay_refused", "final");
}

const LOOP =
  "The request has come round: the deployments that serve this model pass it to each other. The operator must change their upstreams.";
const MESSAGES = {
  pool_unavailable: "The pool that serves this model did not answer in time. Retry.",
  upstream_unavailable: "No engine could be reached for this request. Retry.",
  engine_timeout: "The engine did not begin to answer in time. Retry later, or ask for less.",
  relay_refused:
    "The cluster's relay did not accept the request. The operator finds the reason in the log, by the request id.",
} as const;

/** A refusal of our own. */
export function refused(
  code: keyof typeof MESSAGES,
  why: Extract<PoolOutcome, { ok: false }>["why"],
): PoolOutcome {
  return { ok: false, error: { code, message: MESSAGES[code], param: null }, why };
}
