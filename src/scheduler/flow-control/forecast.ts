// When a waiting request's turn is likely to come.
//
//   ahead = all that waits in higher bands + min(others of its band, ahead of it in its flow × flows of the band)
//   wait  = (ahead + 1) / rate at which its band is served
//
// A guess: it takes the flow's order for that of arrival and all flows of the band for equals.

import type { PriorityBand } from "./priority-band.ts";
import type { QueueEntry } from "./queue-entry.ts";

export interface Forecast {
  /** Requests likely to be served before. */
  readonly ahead: number;
  /** undefined before the band's rate is known; Infinity while nobody is served. */
  readonly waitMs: number | undefined;
}

/** O(bands). */
export function forecastOf(
  entry: QueueEntry,
  descending: readonly PriorityBand[],
  nowMs: number,
): Forecast {
  const { flow } = entry;
  const { band } = flow;
  let ahead = 0;
  for (const higher of descending) {
    if (higher.priority <= band.priority) break;
    ahead += higher.load.requests;
  }
  const flows = Math.max(1, band.waitingFlowCount);
  ahead += Math.min(band.load.requests - 1, flow.aheadOf(entry) * flows);
  return forecastBehind(ahead, band, nowMs);
}

/** Of a request of that priority that comes now: behind all that waits in its band, whose flow it may be. */
export function forecastOfArrival(
  priority: number,
  descending: readonly PriorityBand[],
  nowMs: number,
): Forecast {
  let ahead = 0;
  let own: PriorityBand | undefined;
  for (const band of descending) {
    if (band.priority < priority) break;
    ahead += band.load.requests;
    own = band;
  }
  return own === undefined ? { ahead, waitMs: undefined } : forecastBehind(ahead, own, nowMs);
}

function forecastBehind(ahead: number, band: PriorityBand, nowMs: number): Forecast {
  const rate = band.drain.perSecond(nowMs);
  return { ahead, waitMs: rate === undefined ? undefined : (1_000 * (ahead + 1)) / rate };
}
