// How many Fairleads a request has come through. Two that are upstreams of each other would pass it to and
// fro for ever; each adds one to what it was told, so that the round ends at HOPS_MAX.
//
// Whoever says it is heard, a trusted hop or not: the number of a request that goes round was always written
// by a Fairlead, and a client that writes one itself can only have its own request refused sooner.

/** Sent to every upstream: any of them may be a Fairlead, or lead to one. */
export const HOPS_HEADER = "x-fairlead-hops";

/** Edge, region, cluster, and one to spare. */
export const HOPS_MAX = 4;

/** 0 for a client's own request. What is no number is the most: it is not to be counted from the start again. */
export function hopsOf(headers: Pick<Headers, "get">): number {
  const written = headers.get(HOPS_HEADER);
  if (written === null) return 0;
  return /^[0-9]{1,3}$/.test(written) ? Number(written) : HOPS_MAX;
}
