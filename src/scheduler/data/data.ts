// What data producers tell the plugins that decide: one entry a kind of knowledge.
//
// A producer owns its buffers and refills them at the beginning of every decision. Consumers read
// through PickContext.data, by kind and by the producer's name, and must not keep what they read.

/** How much of a request's prefix each endpoint holds. Arrays are by slot; stale slots hold garbage. */
export interface PrefixMatch {
  /** Blocks of the request held without a gap from the first, in any tier. */
  readonly matchedBlocks: Int32Array;
  /**
   * The same, each block times the weight of its best tier: 1 for GPU memory. Equals matchedBlocks
   * where tiers are not told apart.
   */
  readonly weightedBlocks: Float64Array | Int32Array;
  /** Blocks the request has; 0 for a prompt shorter than a block. */
  readonly totalBlocks: number;
  /** Tokens of a block, by the estimate that the keys rest on. */
  readonly blockTokens: number;
}

/** What has been sent to each endpoint and has not ended; by slot. */
export interface InFlightLoad {
  readonly requests: Int32Array;
  /** Prompt tokens that were not cached, and output as far as the producer counts it. */
  readonly tokens: Float64Array;
}

/** Tokens this request would have to compute on each endpoint; by slot. */
export interface UncachedTokens {
  readonly tokens: Float64Array;
}

/** What a request is expected to take on each endpoint; by slot. */
export interface LatencyPrediction {
  /** 1 where there is a prediction; the other columns are garbage elsewhere. */
  readonly isPredicted: Uint8Array;
  readonly ttftMs: Float64Array;
  readonly tpotMs: Float64Array;
  /** SLO less prediction; negative where the SLO would be missed. */
  readonly ttftHeadroomMs: Float64Array;
  readonly tpotHeadroomMs: Float64Array;
  /** Requests dispatched there and not ended. */
  readonly dispatchedRequests: Int32Array;
}

/** Images, audio and video of the request that each endpoint has encoded before; by slot. */
export interface MediaMatch {
  readonly matchedSize: Float64Array;
  readonly totalSize: number;
}

/** The session a request belongs to. */
export interface SessionId {
  readonly value: string | undefined;
}

/** Where the KV blocks of a request could be copied from. */
export interface CacheSource {
  /** Slot, or -1. */
  readonly slot: number;
}

export interface DataByKey {
  readonly "prefix-match": PrefixMatch;
  readonly "in-flight-load": InFlightLoad;
  readonly "uncached-tokens": UncachedTokens;
  readonly "latency-prediction": LatencyPrediction;
  readonly "media-match": MediaMatch;
  readonly "session-id": SessionId;
  readonly "cache-source": CacheSource;
}
export type DataKey = keyof DataByKey;

/** Who produces a kind of data where a configuration names nobody. */
export const DEFAULT_PRODUCERS = {
  "prefix-match": "approx-prefix-cache-producer",
  "in-flight-load": "inflight-load-producer",
  "uncached-tokens": "inflight-load-producer",
  "latency-prediction": "predicted-latency-producer",
  "media-match": "mm-embeddings-cache-producer",
  "session-id": "session-id-producer",
  "cache-source": "p2p-source-producer",
} as const satisfies Record<DataKey, string>;

/** The producer's instance that a plugin reads `key` from, whose parameters name `producer` or nobody. */
export function producerOf(key: DataKey, producer: string | undefined): string {
  return producer === undefined || producer === "" ? DEFAULT_PRODUCERS[key] : producer;
}

/** Data of the decision in progress. */
export interface DataReader {
  /** What `producer` (an instance's name) says; undefined where there is none. */
  get<Key extends DataKey>(key: Key, producer: string): DataByKey[Key] | undefined;
}
