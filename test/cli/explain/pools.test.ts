import { expect, it } from "vitest";
import { renderPools } from "../../../src/cli/explain/pools.ts";

it("shows each pool with its tier, its state and the parts of its cost", () => {
  const lines = renderPools([
    { pool: "eu-1", tier: 0, state: "fresh", terms: { rttMs: 20, waitMs: 3.25 }, costMs: 23.25 },
    { pool: "us-1", tier: 2, state: "stale", terms: { rttMs: 90, prefillMs: null }, costMs: null },
  ]);
  expect(lines).toEqual([
    "Pools it was chosen among, in the order to try them",
    "                                      prefill",
    "  pool  tier  state  rtt ms  wait ms       ms  cost ms",
    "  eu-1     0  fresh    20.0      3.3        -     23.3",
    "  us-1     2  stale    90.0        -        -        -",
    "",
  ]);
});

it("shows nothing where there was no choice", () => {
  expect(renderPools(undefined)).toEqual([]);
  expect(renderPools([])).toEqual([]);
});
