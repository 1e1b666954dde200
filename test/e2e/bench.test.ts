// The benchmarks that start processes, with next to no load: that both sides answer through one
// relay and that their figures can be read.

import { describe, expect, it } from "vitest";
import { measureHeldRequest } from "../../bench/held-request.ts";
import type { Measurement } from "../../bench/measure.ts";
import { measureObjectRestart } from "../../bench/object-restart.ts";
import { missingProc } from "../../bench/proc.ts";
import { measureProxy } from "../../bench/proxy.ts";
import { measureQueue } from "../../bench/queue.ts";

async function collect(measurements: AsyncIterable<Measurement>): Promise<Map<string, number>> {
  const figures = new Map<string, number>();
  for await (const { metric, value } of measurements) figures.set(metric, value);
  return figures;
}

/** Each starts a whole run and a bare Worker, on a machine that may be busy. */
const TIMEOUT_MS = 120_000;
/** The goal is 3 s, which `npm run bench -- object-restart` measures where nobody else uses the processors. */
const BACK_MS_MAX = 15_000;

// Fairlead does more than the bare Worker whatever the machine does.
describe.skipIf(missingProc() !== undefined)(
  "benchmarks of the whole path",
  { timeout: TIMEOUT_MS },
  () => {
    const proxyBudget = { warmUpRequests: 20, requestsPerRound: 40, rounds: 2, settleMs: 50 };

    it("compares the processor time of whole answers", async () => {
      const figures = await collect(measureProxy("proxy-json-4k", proxyBudget));
      expect([...figures.keys()]).toEqual([
        "cpu_ratio",
        "cpu_ratio_spread",
        "cpu_ms_over_bare",
        "cpu_ms",
        "requests_per_s",
      ]);
      expect(figures.get("cpu_ratio")).toBeGreaterThan(1);
      expect(figures.get("cpu_ms_over_bare")).toBeGreaterThan(0);
    });

    it("compares the processor time of streams", async () => {
      const budget = { warmUpRequests: 0, requestsPerRound: 16, rounds: 1, settleMs: 50 };
      const figures = await collect(measureProxy("proxy-sse-100", budget));
      expect(figures.get("cpu_ms")).toBeGreaterThan(0);
    });

    it("has what a killed object knew back after its return", async () => {
      const figures = await collect(
        measureObjectRestart({ streams: 6, bodyBytes: 4_000, rounds: 1 }),
      );
      for (const part of ["loads_ms", "ledger_ms", "tree_ms"]) {
        expect(figures.get(part)).toBeLessThan(BACK_MS_MAX);
      }
    });

    it("compares the memory of requests that wait for their engine", async () => {
      const budget = { held: 150, passing: 50, rounds: 1 };
      const figures = await collect(measureHeldRequest(budget));
      expect([...figures.keys()]).toEqual(["bytes", "bytes_spread"]);
      expect(figures.get("bytes")).toBeGreaterThan(0);
    });

    it("fills a queue, refuses what comes on top, and finds it empty after both kinds of end", async () => {
      const budget = { waiting: 60, passing: 20, refused: 5, watchMs: 100 };
      const figures = await collect(measureQueue(budget));
      expect(figures.get("open_calls")).toBe(60);
      expect(figures.get("bytes_per_open_call")).toBeGreaterThan(0);
      expect(figures.get("ms_refused_p50")).toBeGreaterThan(0);
      for (const end of ["answers", "leaving"])
        expect(figures.get(`ms_as_before_after_${end}`)).toBeGreaterThan(0);
    });
  },
);
