// What a Worker keeps of a pool, to go on while the object is away.

import type { EndpointTable } from "../scheduler/model/endpoint-table.ts";
import { isEjected } from "../scheduler/ejection.ts";
import { isFresh } from "../scheduler/freshness.ts";
import { hasRole } from "../scheduler/roles.ts";
import type { PoolSnapshot } from "./contract.ts";

/** Endpoints in one snapshot; of a larger pool it holds every n-th. */
export const SNAPSHOT_ENDPOINTS_MAX = 64;

/**
 * The endpoints that the default profile would let pass now: those that decode, of them those no relay
 * speaks against, and of them the fresh ones, where there are such. `start` in [0, 1) is where a sample of a larger pool
 * begins, so that not every Worker holds the same.
 */
export function takeSnapshot(
  table: EndpointTable,
  at: { readonly nowMs: number; readonly staleAfterMs: number; readonly start: number },
): PoolSnapshot {
  const { columns } = table;
  const context = { ...at, endpoints: columns };
  // Without its object nobody splits a request: it goes where all of it is done.
  const decoding = keepUnlessNone([...table.slots()], (slot) =>
    hasRole({ pool: table }, slot, "decode"),
  );
  const standing = keepUnlessNone(decoding, (slot) => !isEjected(context, slot));
  const usable = keepUnlessNone(standing, (slot) => isFresh(context, slot));
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

function keepUnlessNone(slots: number[], isWanted: (slot: number) => boolean): number[] {
  const wanted = slots.filter(isWanted);
  return wanted.length > 0 ? wanted : slots;
}
