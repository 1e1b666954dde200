// When requests of the public trace come: they are told in batches of 3 s, and each is spread until the next.

import type { TraceLine } from "./mooncake-trace.ts";

const BATCH_MS = 3_000;

/** A time for each line, in ms from 0, so that all of them take `durationMs`. */
export function spreadTimes(lines: readonly TraceLine[], durationMs: number): number[] {
  const times: number[] = [];
  let sinceMs = 0;
  for (let i = 0; i < lines.length;) {
    let end = i + 1;
    while (end < lines.length && lines[end]!.timestamp === lines[i]!.timestamp) end++;
    const gapMs = end < lines.length ? lines[end]!.timestamp - lines[i]!.timestamp : 0;
    // Where the trace begins again.
    const batchMs = gapMs > 0 ? gapMs : BATCH_MS;
    for (let k = i; k < end; k++) times.push(sinceMs + (batchMs * (k - i)) / (end - i));
    sinceMs += batchMs;
    i = end;
  }
  return times.map((atMs) => (atMs * durationMs) / sinceMs);
}
