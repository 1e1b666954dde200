// Whether a request may be sent once more. Both of the pool and of the isolate have a budget for it; what is
// allowed waits a moment before, with full jitter, so that requests that failed together don't return together.

import { RetryBudget } from "../../scheduler/support/retry-budget.ts";
import { METRIC } from "../../telemetry/names.ts";
import { metrics } from "../metrics.ts";
import { pause } from "./await-call.ts";
import type { Job } from "./job.ts";
import type { PoolView } from "./pool-view.ts";

/** The pause before a retry is anything below this, doubled with each retry: full jitter. */
export const RETRY_PAUSE_BASE_MS = 25;
/** Retries by one isolate that may happen at once, beyond a tenth of its requests. */
export const ISOLATE_RETRY_RESERVE = 1_024;

const isolateRetries = new RetryBudget(ISOLATE_RETRY_RESERVE, () =>
  metrics.inc(METRIC.workerRetriesDeniedTotal, {}),
);

/** A request has come. */
export function countRequest(): void {
  isolateRetries.deposit();
}

/** Takes a retry out of both budgets or neither, of the pool that is to be asked, and waits. False: no retry. */
export async function mayRetry(
  view: PoolView,
  retry: number,
  { signal }: Pick<Job, "signal">,
): Promise<boolean> {
  if (signal.aborted || !view.retries.tryWithdrawWith(isolateRetries)) return false;
  metrics.inc(METRIC.workerRetriesTotal, {});
  return pause(Math.random() * RETRY_PAUSE_BASE_MS * 2 ** retry, signal);
}
