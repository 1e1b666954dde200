// Decisions of every kind that a plugin may be shown, for the conformance suites.

import fc from "fast-check";
import type { NarrowingContext } from "../../src/scheduler/profile.ts";
import {
  type EndpointRow,
  NOW_MS,
  pickContext,
  STALE_AFTER_MS,
} from "../scheduler/support/pick-context.ts";

const TOTAL_BLOCKS_MAX = 20;

const ageMs = fc.oneof(
  fc.nat(STALE_AFTER_MS),
  fc.constantFrom(-5, STALE_AFTER_MS, STALE_AFTER_MS + 1, 1e9, Infinity),
);

export interface ContextFacts {
  readonly rows: readonly EndpointRow[];
  readonly totalBlocks: number;
  /** Ascending, as the contract has them. */
  readonly candidates: readonly number[];
}

/** Columns hold what EndpointTable writes: bounded counts, shares in 0..1, no NaN. */
export const contextFacts: fc.Arbitrary<ContextFacts> = fc
  .record({
    totalBlocks: fc.nat(TOTAL_BLOCKS_MAX),
    rows: fc.array(
      fc.record({
        row: fc.record({
          queueDepth: fc.oneof(fc.nat(5), fc.nat(0x7fff_ffff)),
          runningRequests: fc.nat(500),
          kvUsage: fc.oneof(fc.constantFrom(0, 1), fc.double({ min: 0, max: 1, noNaN: true })),
          kvCapacityTokens: fc.nat(1_000_000),
          ageMs,
          inFlightRequests: fc.nat(100),
          inFlightTokens: fc.nat(1_000_000),
          ejectedMs: fc.constantFrom(-NOW_MS, 0, 1, 30_000),
          // Most prompts are cold for most endpoints.
          matchedBlocks: fc.oneof(fc.constant(0), fc.nat(TOTAL_BLOCKS_MAX)),
        }),
        isCandidate: fc.boolean(),
      }),
      { maxLength: 48 },
    ),
  })
  .map(({ totalBlocks, rows }) => ({
    totalBlocks,
    rows: rows.map(({ row }) => ({
      ...row,
      matchedBlocks: Math.min(row.matchedBlocks, totalBlocks),
    })),
    candidates: [...rows.keys()].filter((slot) => rows[slot]!.isCandidate),
  }));

export function contextOf({ rows, totalBlocks, candidates }: ContextFacts): NarrowingContext {
  return pickContext(rows, { totalBlocks, candidates });
}

/** The whole of what a plugin may look at and must not change. */
export function snapshot(context: NarrowingContext): string {
  const { endpoints, prefix, candidates, request } = context;
  return JSON.stringify([
    Object.values(endpoints).map((column) => (typeof column === "number" ? column : [...column])),
    [...prefix.matchedBlocks],
    prefix.totalBlocks,
    [...candidates],
    request,
  ]);
}
