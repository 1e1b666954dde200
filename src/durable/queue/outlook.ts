// What a request may expect that comes now: for whoever chooses among pools.

import type { FlowController } from "../../scheduler/flow-control/flow-controller.ts";
import type { PoolView, SaturationMeter } from "../../scheduler/flow-control/saturation.ts";

/** Of a request without an objective. */
const DEFAULT_PRIORITY = 0;

export interface QueueOutlook {
  /** As the detector says: 1 is full. */
  readonly saturation: number;
  readonly waiting: number;
  /** It would have to wait. */
  readonly isHeld: boolean;
  /** Requests that would be served before. */
  readonly ahead: number;
  /** undefined before a rate is known; Infinity while nobody is served. */
  readonly waitMs: number | undefined;
}

/** Of a pool with a queue. O(endpoints + bands). */
export function queueOutlook(
  controller: FlowController,
  meter: SaturationMeter,
  view: PoolView,
): QueueOutlook {
  const { saturation } = meter.measure(view);
  const waiting = controller.waitingCount;
  const { ahead, waitMs } = controller.arrivalForecast(DEFAULT_PRIORITY, view.nowMs);
  return { saturation, waiting, isHeld: waiting > 0 || !(saturation < 1), ahead, waitMs };
}

/** Requests that may be let through before one that comes here has to wait. O(endpoints + bands). */
export function creditRoom(
  controller: FlowController,
  meter: SaturationMeter,
  view: PoolView,
): number {
  if (controller.waitingCount > 0) return 0;
  const { saturation } = meter.measure(view);
  return meter.room(view, controller.lowestCeiling(saturation));
}

/** Of one in which nobody waits. O(endpoints). */
export function passingOutlook(meter: SaturationMeter, view: PoolView): QueueOutlook {
  const { saturation } = meter.measure(view);
  return { saturation, waiting: 0, isHeld: false, ahead: 0, waitMs: undefined };
}
