// Builders of what a plugin is given, from the few facts a test is about.

import type { DataByKey, PrefixMatch } from "../../../src/scheduler/data/data.ts";
import { CONTENT_BLOCK_TOKENS } from "../../../src/scheduler/kv/content-keys.ts";
import { Adapters, type AdapterSample } from "../../../src/scheduler/model/adapters.ts";
import { UNLEARNED } from "../../../src/scheduler/model/engine-speeds.ts";
import type { EndpointColumns } from "../../../src/scheduler/model/endpoint-columns.ts";
import type { Endpoint } from "../../../src/scheduler/model/endpoint-table.ts";
import type { InferenceRequest } from "../../../src/scheduler/model/inference-request.ts";
import type { NarrowingContext } from "../../../src/scheduler/plugin.ts";
import type { SessionAffinity } from "../../../src/scheduler/pools/affinity.ts";
import type { RoutingPolicy } from "../../../src/scheduler/pools/pool-columns.ts";
import { createRng } from "../../../src/scheduler/support/rng.ts";
import { type PoolRow, poolColumns } from "./pool-columns.ts";

/** An endpoint; what is left out is idle, empty and sampled just now. */
export interface EndpointRow {
  readonly address?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly queueDepth?: number;
  readonly runningRequests?: number;
  readonly kvUsage?: number;
  readonly kvCapacityTokens?: number;
  /** Age of the sample; Infinity for an endpoint that was never sampled. */
  readonly ageMs?: number;
  readonly inFlightRequests?: number;
  readonly inFlightTokens?: number;
  readonly matchedBlocks?: number;
  /** What is left of an ejection, in ms; 0 or less for one that is over. */
  readonly ejectedMs?: number;
  readonly cameAgoMs?: number;
  /** Prompts sent there will have been computed in so many ms. */
  readonly prefillBusyMs?: number;
  readonly prefillMsPerToken?: number;
  readonly transferMsPerToken?: number;
  readonly serviceMs?: number;
  readonly requestTokens?: number;
  readonly coldTokens?: number;
  readonly lora?: Partial<AdapterSample>;
  /** By attribute key. */
  readonly scalars?: Readonly<Record<string, number>>;
  /** What is known of the pool that the slot is; where no row has it, slots are endpoints. */
  readonly pool?: PoolRow;
}

export const NOW_MS = 1_000_000;
export const STALE_AFTER_MS = 1_000;

export function inferenceRequest(overrides: Partial<InferenceRequest> = {}): InferenceRequest {
  return {
    requestId: "request-1",
    model: "model-a",
    tenant: "tenant-a",
    priority: 0,
    keys: new Uint32Array(0),
    promptTokens: 100,
    outputTokensMax: null,
    bodyBytes: 400,
    ...overrides,
  };
}

export function endpointColumns(rows: readonly EndpointRow[]): EndpointColumns {
  const loraMax = Int32Array.from(rows, (row) => row.lora?.maxActive ?? 0);
  const adapters = new Adapters(loraMax);
  rows.forEach((row, slot) => {
    if (row.lora !== undefined)
      adapters.set(slot, { active: [], waiting: [], maxActive: 0, ...row.lora });
  });
  const keys = new Set(rows.flatMap((row) => Object.keys(row.scalars ?? {})));
  const scalars = new Map(
    [...keys].map((key) => [key, Float64Array.from(rows, (row) => row.scalars?.[key] ?? NaN)]),
  );
  return {
    loraMax,
    adapters,
    scalar: (attributeKey) => scalars.get(attributeKey),
    slotCount: rows.length,
    isPresent: new Uint8Array(rows.length).fill(1),
    queueDepth: Int32Array.from(rows, (row) => row.queueDepth ?? 0),
    runningRequests: Int32Array.from(rows, (row) => row.runningRequests ?? 0),
    kvUsage: Float64Array.from(rows, (row) => row.kvUsage ?? 0),
    kvCapacityTokens: Float64Array.from(rows, (row) => row.kvCapacityTokens ?? 0),
    sampledAtMs: Float64Array.from(rows, (row) => NOW_MS - (row.ageMs ?? 0)),
    inFlightRequests: Int32Array.from(rows, (row) => row.inFlightRequests ?? 0),
    inFlightTokens: Float64Array.from(rows, (row) => row.inFlightTokens ?? 0),
    prefillBusyUntilMs: Float64Array.from(rows, (row) => NOW_MS + (row.prefillBusyMs ?? 0)),
    prefillMsPerToken: Float64Array.from(
      rows,
      (row) => row.prefillMsPerToken ?? UNLEARNED.prefillMsPerToken,
    ),
    transferMsPerToken: Float64Array.from(
      rows,
      (row) => row.transferMsPerToken ?? UNLEARNED.transferMsPerToken,
    ),
    serviceMs: Float64Array.from(rows, (row) => row.serviceMs ?? UNLEARNED.serviceMs),
    requestTokens: Float64Array.from(rows, (row) => row.requestTokens ?? 0),
    coldTokens: Float64Array.from(rows, (row) => row.coldTokens ?? 0),
    cameAtMs: Float64Array.from(rows, (row) =>
      row.cameAgoMs === undefined ? 0 : NOW_MS - row.cameAgoMs,
    ),
    ejectedUntilMs: Float64Array.from(rows, (row) =>
      row.ejectedMs === undefined ? 0 : NOW_MS + row.ejectedMs,
    ),
  };
}

export interface PickContextOptions {
  readonly totalBlocks?: number;
  readonly candidates?: readonly number[];
  readonly request?: Partial<InferenceRequest>;
  /** What producers say, whatever their names; prefix match and load come from the rows. */
  readonly data?: Partial<DataByKey>;
  /** First choices of profiles that have run. */
  readonly results?: Readonly<Record<string, number>>;
  readonly firstSlot?: number;
  readonly seed?: number;
  /** Of a choice among pools. */
  readonly policy?: Partial<RoutingPolicy>;
  readonly session?: SessionAffinity;
}

/** Undefined for a row that is not there. */
function endpointOf(row: EndpointRow | undefined, slot: number): Endpoint | undefined {
  if (row === undefined) return undefined;
  const address = row.address ?? `10.0.0.${slot + 1}:8000`;
  return { id: `default/e${slot}`, address, engine: "vllm", labels: row.labels ?? {} };
}

/** A decision over `rows`, one slot each; all are candidates unless `candidates` names some. */
export function pickContext(
  rows: readonly EndpointRow[],
  options: PickContextOptions = {},
): NarrowingContext {
  const totalBlocks = options.totalBlocks ?? 0;
  const candidates = Int32Array.from(options.candidates ?? rows.keys());
  const matchedBlocks = Int32Array.from(rows, (row) => row.matchedBlocks ?? 0);
  const prefix: PrefixMatch = {
    matchedBlocks,
    weightedBlocks: matchedBlocks,
    totalBlocks,
    blockTokens: CONTENT_BLOCK_TOKENS,
  };
  const endpoints = endpointColumns(rows);
  const data: Partial<DataByKey> = {
    "prefix-match": prefix,
    "in-flight-load": { requests: endpoints.inFlightRequests, tokens: endpoints.inFlightTokens },
    ...options.data,
  };
  const { policy = {}, session } = options;
  const pools = poolColumns(rows, {
    policy,
    staleAfterMs: STALE_AFTER_MS,
    ...(session === undefined ? {} : { session }),
  });
  return {
    ...(rows.some((row) => row.pool !== undefined) ? { pools } : {}),
    request: inferenceRequest({ keys: new Uint32Array(totalBlocks * 2), ...options.request }),
    endpoints,
    pool: { endpoint: (slot) => endpointOf(rows[slot], slot) },
    prefix,
    prefixSources: { approximate: (_keys, out) => out.set(prefix.matchedBlocks) },
    data: { get: (key) => data[key] as never },
    profile: "default",
    results: {
      slotOf: (profile) => options.results?.[profile],
      firstSlot: options.firstSlot ?? -1,
    },
    candidates,
    candidateCount: candidates.length,
    nowMs: NOW_MS,
    staleAfterMs: STALE_AFTER_MS,
    rng: createRng(options.seed ?? 1),
  };
}
