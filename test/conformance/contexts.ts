// Decisions of every kind that a plugin may be shown, for the conformance suites.

import fc from "fast-check";
import type { DataByKey, DataReader } from "../../src/scheduler/data/data.ts";
import { CONTENT_BLOCK_TOKENS } from "../../src/scheduler/kv/content-keys.ts";
import type { RequestMedia } from "../../src/scheduler/model/inference-request.ts";
import type { Filter, PluginEvents, Scorer } from "../../src/scheduler/plugin.ts";
import type { NarrowingContext } from "../../src/scheduler/plugin.ts";
import type { PoolRow } from "../scheduler/support/pool-columns.ts";
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
  /** Tokens of the prompt past its last full block. */
  readonly partialTokens?: number;
  /** Of the request, by name. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly hasMedia?: boolean;
  /** What the profiles before chose first: not always a candidate. -1: no profile has run. */
  readonly firstSlot?: number;
  /** Ascending, as the contract has them. */
  readonly candidates: readonly number[];
}

const scalar = fc.oneof(fc.constant(NaN), fc.double({ min: -10, max: 1e6, noNaN: true }));

/** Endpoints that requests name, of which few contexts have all. */
const NAMED_MAX = 6;
const namedSlot = fc.nat(NAMED_MAX - 1);

/** What requests bring: each header by itself, or none. */
const headers: fc.Arbitrary<Readonly<Record<string, string>>> = fc.record(
  {
    [EXAMPLE.header]: fc.constantFrom(...EXAMPLE_TEXTS),
    "x-session-token": namedSlot.map((slot) => btoa(`default/e${slot}`)),
    "test-epp-endpoint-selection": fc
      .array(namedSlot, { maxLength: 3 })
      .map((slots) => slots.map((slot) => `10.0.0.${slot + 1}`).join(",")),
  },
  { requiredKeys: [] },
);

const exampleLabels = fc.constantFrom(...EXAMPLE_TEXTS).map((text) => ({
  [EXAMPLE.label]: text,
  "llm-d.ai/context-length-range": text,
}));
const placeLabels = fc.record(
  {
    "kubernetes.io/hostname": fc.constantFrom("host-1", "host-2"),
    "topology.kubernetes.io/zone": fc.constantFrom("zone-1", "zone-2"),
  },
  { requiredKeys: [] },
);
const roleLabels = fc
  .constantFrom("encode", "prefill", "decode", "prefill-decode", "encode-decode", "no-role")
  .map((role) => ({ "llm-d.ai/role": role }));

const noLabels = fc.constant({});
const labels: fc.Arbitrary<Readonly<Record<string, string>>> = fc
  .tuple(
    fc.oneof(noLabels, exampleLabels),
    fc.oneof(noLabels, placeLabels),
    fc.oneof(noLabels, roleLabels),
  )
  .map((kinds) => Object.assign({}, ...kinds) as Record<string, string>);

const headroom = fc.oneof(fc.constantFrom(NaN, 0), fc.double({ min: -1e5, max: 1e5, noNaN: true }));

/** What is known of the pools that slots may be. */
const pool: fc.Arbitrary<PoolRow> = fc.record({
  failoverTier: fc.constantFrom(0, 0, 0, 1),
  isDrained: fc.constantFrom(false, false, true),
  extraMs: fc.constantFrom(0, 100),
  inputMsPer1kTokens: fc.constantFrom(0, 5),
  outputMsPer1kTokens: fc.constantFrom(0, 50),
  breaker: fc.constantFrom("closed", "closed", "closed", "halfOpen", "open"),
  isOverloaded: fc.boolean(),
  rttMs: fc.nat(300),
  admission: fc.constantFrom(1, 1, 0.5, 0),
  usable: fc.integer({ min: 1, max: 100 }),
  isEmpty: fc.constantFrom(false, false, true),
  isFull: fc.boolean(),
  waitMs: fc.nat(10_000),
  creditMs: fc.nat(1_000),
  lists: fc.constantFrom(["model-a"], ["model-b"], []),
});

/** Columns hold what EndpointTable writes: bounded counts, shares in 0..1, no NaN. */
export const contextFacts: fc.Arbitrary<ContextFacts> = fc
  .record({
    totalBlocks: fc.nat(TOTAL_BLOCKS_MAX),
    partialTokens: fc.nat(CONTENT_BLOCK_TOKENS - 1),
    headers,
    firstSlot: fc.oneof(fc.constant(-1), fc.nat(ROWS_MAX - 1)),
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
          prefillBusyMs: fc.oneof(fc.constantFrom(-5, 0), fc.nat(600_000)),
          prefillMsPerToken: fc.constantFrom(0.02, 0.2),
          serviceMs: fc.constantFrom(500, 10_000),
          requestTokens: fc.nat(10_000),
          coldTokens: fc.oneof(fc.constant(0), fc.nat(5_000_000)),
          ejectedMs: fc.constantFrom(-NOW_MS, 0, 1, 30_000),
          // Most prompts are cold for most endpoints.
          matchedBlocks: fc.oneof(fc.constant(0), fc.nat(TOTAL_BLOCKS_MAX)),
          labels,
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
          pool,
        }),
        isCandidate: fc.boolean(),
      }),
      { maxLength: ROWS_MAX },
    ),
  })
  .map(({ totalBlocks, partialTokens, rows, headers: sent, firstSlot, hasMedia }) => ({
    totalBlocks,
    partialTokens,
    headers: sent,
    firstSlot: firstSlot < rows.length ? firstSlot : -1,
    hasMedia,
    rows: rows.map(({ row }) => ({
      ...row,
      matchedBlocks: Math.min(row.matchedBlocks, totalBlocks),
    })),
    candidates: [...rows.keys()].filter((slot) => rows[slot]!.isCandidate),
  }));

export function contextOf(facts: ContextFacts): NarrowingContext {
  const { rows, totalBlocks, candidates, headers: sent, firstSlot, hasMedia } = facts;
  const { partialTokens = 0 } = facts;
  const context = pickContext(rows, {
    totalBlocks,
    candidates,
    ...(firstSlot === undefined ? {} : { firstSlot }),
    request: {
      promptTokens: totalBlocks * CONTENT_BLOCK_TOKENS + partialTokens,
      ...(sent === undefined ? {} : { headers: sent }),
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

/** The same decisions in each run. */
export function sampleFacts(count: number): ContextFacts[] {
  return fc.sample(contextFacts, { numRuns: count, seed: 7 });
}

/** Decisions that what learns from picks has behind it, so that sessions are bound when a test begins. */
const LESSONS = sampleFacts(30).filter(({ candidates }) => candidates.length > 0);

/** Shows `plugin` the lessons, each of which went to a candidate, and returns it. */
export function taught<P extends PluginEvents & Partial<Filter & Scorer>>(plugin: P): P {
  if (plugin.onPicked === undefined) return plugin;
  for (const [i, facts] of LESSONS.entries()) {
    plugin.filter?.(contextOf(facts));
    plugin.score?.(contextOf(facts), new Float64Array(facts.candidates.length));
    plugin.onPicked?.(contextOf(facts), facts.candidates[i % facts.candidates.length]!);
  }
  return plugin;
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
