// Decisions of every kind that a plugin may be shown, for the conformance suites.

import fc from "fast-check";
import type { DataByKey, DataReader } from "../../src/scheduler/data/data.ts";
import type { RequestMedia } from "../../src/scheduler/model/inference-request.ts";
import type { NarrowingContext } from "../../src/scheduler/profile.ts";
import {
  type EndpointRow,
  NOW_MS,
  pickContext,
  STALE_AFTER_MS,
} from "../scheduler/support/pick-context.ts";

const TOTAL_BLOCKS_MAX = 20;
export const ROWS_MAX = 20;

const ageMs = fc.oneof(
  fc.nat(STALE_AFTER_MS),
  fc.constantFrom(-5, STALE_AFTER_MS, STALE_AFTER_MS + 1, 1e9, Infinity),
);

/** An endpoint, and what producers say of it. */
export interface FactRow extends EndpointRow {
  readonly uncachedTokens?: number;
  /** NaN: the endpoint has no prediction. */
  readonly ttftHeadroomMs?: number;
  readonly tpotHeadroomMs?: number;
  /** Of MEDIA_SIZE. */
  readonly matchedMedia?: number;
}

/** Media of every request that has some: one twice. */
const MEDIA: RequestMedia = {
  hashes: Uint32Array.of(1, 2, 3, 4, 1, 2),
  tokens: Uint32Array.of(4, 6, 4),
};
/** Of each once. */
const MEDIA_SIZE = 10;

/** Whatever a plugin's parameters name in these suites: see params.ts. */
export const EXAMPLE = {
  header: "x-example",
  label: "example",
  attribute: "example_gauge",
  /** A producer that tells nothing. */
  silentProducer: "nobody",
} as const;
// Words, ranges of tokens and the token of an endpoint.
const EXAMPLE_TEXTS = ["a", "b", "0-2048", "100000-4000", btoa("default/e0")];

export interface ContextFacts {
  readonly rows: readonly FactRow[];
  readonly totalBlocks: number;
  readonly header?: string | undefined;
  readonly hasMedia?: boolean;
  /** Ascending, as the contract has them. */
  readonly candidates: readonly number[];
}

const scalar = fc.oneof(fc.constant(NaN), fc.double({ min: -10, max: 1e6, noNaN: true }));
const headroom = fc.oneof(fc.constantFrom(NaN, 0), fc.double({ min: -1e5, max: 1e5, noNaN: true }));

/** Columns hold what EndpointTable writes: bounded counts, shares in 0..1, no NaN. */
export const contextFacts: fc.Arbitrary<ContextFacts> = fc
  .record({
    totalBlocks: fc.nat(TOTAL_BLOCKS_MAX),
    header: fc.option(fc.constantFrom(...EXAMPLE_TEXTS), { nil: undefined }),
    hasMedia: fc.boolean(),
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
          labels: fc.oneof(
            fc.constant({}),
            fc.constantFrom(...EXAMPLE_TEXTS).map((text) => ({
              [EXAMPLE.label]: text,
              "llm-d.ai/context-length-range": text,
              "kubernetes.io/hostname": text,
            })),
          ),
          lora: fc.record({
            active: fc.subarray(["model-a", "model-b"]),
            waiting: fc.subarray(["model-a", "model-b"]),
            maxActive: fc.nat(4),
          }),
          scalars: fc.record({
            [EXAMPLE.attribute]: scalar,
            "llm-d.ai/multicluster-queue-size": scalar,
            "llm-d.ai/multicluster-kv-cache-utilization": scalar,
          }),
          uncachedTokens: fc.nat(100_000),
          ttftHeadroomMs: headroom,
          tpotHeadroomMs: headroom,
          matchedMedia: fc.nat(MEDIA_SIZE),
        }),
        isCandidate: fc.boolean(),
      }),
      { maxLength: ROWS_MAX },
    ),
  })
  .map(({ totalBlocks, rows, header, hasMedia }) => ({
    totalBlocks,
    header,
    hasMedia,
    rows: rows.map(({ row }) => ({
      ...row,
      matchedBlocks: Math.min(row.matchedBlocks, totalBlocks),
    })),
    candidates: [...rows.keys()].filter((slot) => rows[slot]!.isCandidate),
  }));

export function contextOf(facts: ContextFacts): NarrowingContext {
  const { rows, totalBlocks, candidates, header, hasMedia } = facts;
  const context = pickContext(rows, {
    totalBlocks,
    candidates,
    request: {
      ...(header === undefined ? {} : { headers: { [EXAMPLE.header]: header } }),
      ...(hasMedia === true ? { media: MEDIA } : {}),
    },
    data: dataOf(facts),
  });
  const data: DataReader = {
    get: (key, producer) =>
      producer === EXAMPLE.silentProducer ? undefined : context.data.get(key, producer),
  };
  return { ...context, data };
}

function dataOf({ rows, hasMedia }: ContextFacts): Partial<DataByKey> {
  const column = (value: (row: FactRow) => number) => Float64Array.from(rows, value);
  const isPredicted = Uint8Array.from(rows, (row) => Number(!Number.isNaN(row.ttftHeadroomMs)));
  return {
    "uncached-tokens": { tokens: column((row) => row.uncachedTokens ?? 0) },
    "latency-prediction": {
      isPredicted,
      ttftMs: column((row) => 1_000 - (row.ttftHeadroomMs ?? 0)),
      tpotMs: column((row) => 1_000 - (row.tpotHeadroomMs ?? 0)),
      ttftHeadroomMs: column((row) => row.ttftHeadroomMs ?? 0),
      tpotHeadroomMs: column((row) => row.tpotHeadroomMs ?? 0),
      dispatchedRequests: Int32Array.from(rows, (row) => row.inFlightRequests ?? 0),
    },
    "media-match": {
      matchedSize: column((row) => row.matchedMedia ?? 0),
      totalSize: hasMedia === true ? MEDIA_SIZE : 0,
    },
  };
}

/** The whole of what a plugin may look at and must not change. */
export function snapshot(context: NarrowingContext): string {
  const { endpoints, prefix, candidates, request } = context;
  const { slotCount, adapters } = endpoints;
  const columns = Object.values(endpoints).filter(
    (column): column is Int32Array | Float64Array | Uint8Array => ArrayBuffer.isView(column),
  );
  const slots = [...Array(slotCount).keys()];
  return JSON.stringify([
    slotCount,
    columns.map((column) => [...column]),
    slots.map((slot) => [adapters.activeCount(slot), adapters.waitingCount(slot)]),
    [...(endpoints.scalar(EXAMPLE.attribute) ?? [])],
    [...prefix.matchedBlocks],
    prefix.totalBlocks,
    [...candidates],
    request,
  ]);
}
