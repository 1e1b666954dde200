// Which endpoints have nothing to do that a request would have to wait behind, as far as is known.

import { isEjected } from "../ejection.ts";
import { isFresh } from "../freshness.ts";
import type { EndpointColumns } from "../model/endpoint-columns.ts";

/** Prompts that have been sent to one and not to the other make a difference; less is no news of a load. */
export const BUSY_STEP_MS = 25;
/** Of KV memory in use: a request is likely to wait for some. */
const FULL = 0.95;
/** KV memory in use that it may have more than others; up to the other that costs next to nothing. */
const MORE_USAGE = 0.1;
const ROOMY = 0.5;
/** Blocks beyond what others hold, from which a prefix speaks for an endpoint; 512 tokens. */
export const MORE_BLOCKS = 8;

/** A pool, or a replica of it, at the moment of a pick. */
export interface LoadView {
  readonly columns: EndpointColumns;
  readonly nowMs: number;
  readonly staleAfterMs: number;
}

/** Prompts that were sent there and are not computed yet, in steps; 0 where there are none to speak of. */
export function busySteps(view: LoadView, slot: number): number {
  return Math.floor(busyMs(view, slot) / BUSY_STEP_MS);
}

/** The same in ms; NaN where that is not known. */
export function busyMs({ columns, nowMs }: LoadView, slot: number): number {
  return Math.max(0, columns.prefillBusyUntilMs[slot]! - nowMs);
}

/** Whether it has as much KV memory free as the one with `least` in use, or so much that it makes no difference. */
export function isAsRoomy({ columns }: LoadView, slot: number, least: number): boolean {
  return columns.kvUsage[slot]! <= Math.max(ROOMY, least + MORE_USAGE);
}

/** A request can be sent there. */
export function isUsable({ columns: endpoints, nowMs, staleAfterMs }: LoadView, slot: number) {
  const view = { endpoints, nowMs, staleAfterMs };
  return endpoints.kvUsage[slot]! < FULL && isFresh(view, slot) && !isEjected(view, slot);
}
