// What a request is told that finds no room in the queue.

import { fitsAlone } from "./capacity.ts";
import type { QueuedRequest } from "./contracts.ts";
import { RETRY_AFTER_MS } from "./drain-rate.ts";
import { type FlowRefusal, refusal } from "./outcomes.ts";
import type { PriorityBand } from "./priority-band.ts";
import type { WaitingRoom } from "./waiting-room.ts";

const TOO_LARGE = "the request is larger than the queue may hold";

/** What does not fit an empty queue never will: there is no use in trying again. */
export function fullRefusal(
  request: QueuedRequest,
  band: PriorityBand,
  { waiting, nowMs }: { readonly waiting: WaitingRoom; readonly nowMs: number },
): FlowRefusal {
  if (!waiting.hasEndpoints) return refusal("rejected-no-endpoints", RETRY_AFTER_MS.noEndpoints);
  const fits = fitsAlone(request, band.settings.limits) && fitsAlone(request, waiting.limits);
  return fits
    ? refusal("rejected-saturated", retryAfterMsOf(band, nowMs))
    : refusal("rejected-saturated", 0, TOO_LARGE);
}

/** Until those that wait in the band now have been served. */
export function retryAfterMsOf(band: PriorityBand, nowMs: number): number {
  return band.drain.retryAfterMs(band.load.requests, nowMs);
}
