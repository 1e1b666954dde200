// What a Worker keeps of a pool, to go on while the object is away.

import type { EndpointTable } from "../scheduler/model/endpoint-table.ts";
import type { PoolSnapshot } from "./contract.ts";

/** Endpoints in one snapshot; of a larger pool it holds every n-th. */
export const SNAPSHOT_ENDPOINTS_MAX = 64;

/**
 * The endpoints that may be picked now: fresh ones that no relay speaks against, or all if there is
 * no such one. `start` in [0, 1) is where a sample of a larger pool begins, so that not every Worker
 * holds the same.
 */
export function takeSnapshot(
  table: EndpointTable,
  at: { readonly nowMs: number; readonly staleAfterMs: number; readonly start: number },
): PoolSnapshot {
  const { columns } = table;
  const all = [...table.slots()];
  const good = all.filter(
    (slot) =>
      at.nowMs - columns.sampledAtMs[slot]! <= at.staleAfterMs &&
      columns.ejectedUntilMs[slot]! <= at.nowMs,
  );
  const usable = good.length > 0 ? good : all;
  const count = Math.min(usable.length, SNAPSHOT_ENDPOINTS_MAX);
  const slots = Array.from({ length: count }, (_, i) => {
    const index = Math.floor(((i + at.start) * usable.length) / count);
    return usable[index]!;
  });
  return {
    addresses: slots.map((slot) => table.endpoint(slot)!.address),
    loads: slots.map((slot) =>
      Math.max(
        columns.inFlightRequests[slot]!,
        columns.queueDepth[slot]! + columns.runningRequests[slot]!,
      ),
    ),
  };
}
