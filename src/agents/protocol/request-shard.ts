// Our request ids say which of a pool's objects has granted the ticket: fl-<tag>-<shard>-<random>. The
// Worker makes them; see its request-id.ts.

const PATTERN = /^fl-[0-9a-f]{8}-([0-9a-f]{2})-[0-9a-f]{32}$/;

/** The shard in one of our ids; 0, the pool's own object, for anything else. */
export function shardOfRequest(requestId: string): number {
  const match = PATTERN.exec(requestId);
  return match === null ? 0 : Number.parseInt(match[1]!, 16);
}
