import { describe, expect, it } from "vitest";
import { renderQueue } from "../../../src/cli/queue/table.ts";
import { QUEUE } from "./queues.ts";

const at = new Date(Date.UTC(2026, 10, 21, 12, 0, 5));

function shown(change: Partial<typeof QUEUE> = {}): string {
  const queue = { ...QUEUE, ...change, bands: (change.bands ?? QUEUE.bands).map(mutableBand) };
  return renderQueue({ pool: "eu-1", queue, at });
}

/** As it is read from JSON. */
function mutableBand(band: (typeof QUEUE.bands)[number]) {
  return { ...band, dropped: { ...band.dropped }, flows: [...band.flows] };
}

describe("renderQueue", () => {
  it("shows the pool, its bands and their flows", () => {
    expect(shown()).toBe(`\
Pool eu-1 at 12:00:05 UTC: saturation 1.06, full
  waiting 57 of 100 requests, 1.2 MB, 90.4k tokens; 50 as open calls, 7 with a numbered place
  12 let through and not ended

                                                             drained a      let
  priority  ceiling  waiting  limit   bytes   limit  oldest     second  through  mean wait  max wait   Jain  flows
        10     1.00        0   5000     0 B  1.0 GB       -          -        0          -         -  1.000      0
         0     0.90       57   5000  1.2 MB       -   2.3 s       41.3    20.0k     250 ms     3 min  0.991     22
  dropped from band 0: 9 rejected-ttl-expired, 4 evicted-queue-pressure

Flows of band 0
                                            let             tokens
  flow      weight  waiting  in flight  through  mean wait  lately  share
  acme           2       50          8    15.0k     312 ms   60.0k  75.0%
  \uFFFD[31mred       1        7          4        0          -   20.0k  25.0%
`);
  });

  it("fits into 120 columns", () => {
    expect(
      Math.max(
        ...shown()
          .split("\n")
          .map((line) => line.length),
      ),
    ).toBeLessThanOrEqual(120);
  });

  it.for([
    { change: { hasEndpoints: false }, says: "UTC: no endpoints\n" },
    { change: { saturation: 0.994 }, says: "UTC: saturation 0.99\n" },
    { change: { staleEndpoints: 2 }, says: "  2 endpoints count as full" },
    { change: { limits: {} }, says: "  waiting 57 requests, 1.2 MB, 90.4k tokens;" },
    { change: { bands: [] }, says: "  12 let through and not ended\n" },
  ])("says so: $says", ({ change, says }) => {
    expect(shown(change)).toContain(says);
  });

  it("says of which objects it is, where the pool has several", () => {
    const told = (missing: number[]) =>
      renderQueue({
        pool: "eu-1",
        queue: { ...QUEUE, bands: [] },
        at,
        shards: { count: 4, missing },
      });
    expect(told([])).toContain("  of all 4 objects\n");
    expect(told([1, 3])).toContain("  of 2 of 4 objects: 1, 3 did not answer\n");
  });

  it("says that a pool has no room at all", () => {
    const queue = { ...QUEUE, saturation: null, bands: [] };
    expect(renderQueue({ pool: "eu-1", queue, at })).toContain("full, with no room at all");
  });
});
