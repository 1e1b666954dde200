// Endpoints that are one data-parallel rank of an engine which takes the requests of all its ranks at one
// address: the rank must be named in each request, or two legs that belong together may meet different ones.

import type { EndpointRecord } from "../../protocol/messages.ts";

/** vLLM and SGLang read it on every route that generates. */
const RANK_HEADER = "x-data-parallel-rank";
/** Labels of an endpoint: its rank, and how many there are. */
const RANK_LABEL = "fairlead/data-parallel-rank";
const SIZE_LABEL = "fairlead/data-parallel-size";

export interface DataParallelRank {
  readonly rank: number;
  readonly count: number;
}

/** Undefined for an endpoint that is a whole engine, or whose labels make no sense. */
export function rankOf({ labels }: EndpointRecord): DataParallelRank | undefined {
  const rank = whole(labels[RANK_LABEL]);
  const count = whole(labels[SIZE_LABEL]);
  if (rank === undefined || count === undefined || rank >= count) return undefined;
  return { rank, count };
}

/** What a leg to the endpoint carries. */
export function rankHeaders(endpoint: EndpointRecord | undefined): Record<string, string> {
  const place = endpoint === undefined ? undefined : rankOf(endpoint);
  return place === undefined ? {} : { [RANK_HEADER]: String(place.rank) };
}

function whole(text: string | undefined): number | undefined {
  return text !== undefined && /^[0-9]{1,5}$/.test(text) ? Number(text) : undefined;
}
