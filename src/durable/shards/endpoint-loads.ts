// Loads of endpoints on their way between the objects of a pool.

import { ENDPOINTS_MAX, type EndpointTable } from "../../scheduler/model/endpoint-table.ts";
import type { OthersLoad } from "../../scheduler/model/shared-loads.ts";
import type { Total } from "../../scheduler/shards/totals.ts";
import type { EndpointLoads } from "./contract.ts";

/** What this object has at the endpoints: those where it has nothing are left out. */
export function ownLoads(table: EndpointTable): EndpointLoads {
  const loads: [string, OthersLoad][] = [];
  for (const slot of table.slots()) {
    const own = table.ownLoad(slot);
    if (own.requests + own.unseen > 0) loads.push([table.endpoint(slot)!.address, own]);
  }
  return packLoads(loads);
}

/** Prefill that it has sent to them in all. `epoch`: its own. */
export function ownPrefill(table: EndpointTable, epoch: string): Total[] {
  const totals: Total[] = [];
  for (const slot of table.slots()) {
    const { prefillTokens, life } = table.ownLoad(slot);
    if (prefillTokens === 0) continue;
    const key = table.endpoint(slot)!.address;
    totals.push({ key, life: `${epoch}.${life}`, total: prefillTokens });
  }
  return totals;
}

/** Puts what others have in the place of what they had before. O(endpoints). */
export function showOthers(table: EndpointTable, loads: EndpointLoads | undefined, nowMs: number) {
  const byAddress = loads === undefined ? new Map<string, OthersLoad>() : unpackLoads(loads);
  for (const slot of table.slots())
    table.setOthersLoad(slot, byAddress.get(table.endpoint(slot)!.address), nowMs);
}

/** By address. What is over the bound, or no number, is left out. */
export function unpackLoads({ addresses, requests, tokens, unseen, agesMs }: EndpointLoads) {
  const loads = new Map<string, Required<OthersLoad>>();
  addresses.slice(0, ENDPOINTS_MAX).forEach((address, i) => {
    const load = {
      requests: requests[i]!,
      tokens: tokens[i]!,
      unseen: unseen[i]!,
      ageMs: agesMs?.[i] ?? 0,
    };
    if (Object.values(load).every(isLoad)) loads.set(address, load);
  });
  return loads;
}

export function packLoads(loads: readonly (readonly [string, OthersLoad])[]): EndpointLoads {
  return {
    addresses: loads.map(([address]) => address),
    requests: Float64Array.from(loads, ([, load]) => load.requests),
    tokens: Float64Array.from(loads, ([, load]) => load.tokens),
    unseen: Float64Array.from(loads, ([, load]) => load.unseen),
    agesMs: Float64Array.from(loads, ([, load]) => load.ageMs ?? 0),
  };
}

export const NO_LOADS: EndpointLoads = packLoads([]);

function isLoad(value: number): boolean {
  return value >= 0 && value < Infinity;
}
