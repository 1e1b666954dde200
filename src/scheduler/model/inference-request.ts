/** Output reserved for a request at most; real lengths are rarely near what clients allow. */
export const OUTPUT_TOKENS_RESERVED_MAX = 512;

/** Output tokens that a request is charged with until its real usage is known. */
export function reservedOutputTokens(outputTokensMax: number | null): number {
  return Math.min(outputTokensMax ?? OUTPUT_TOKENS_RESERVED_MAX, OUTPUT_TOKENS_RESERVED_MAX);
}

/**
 * What the scheduler knows of a request. Never the prompt itself: only keys, counts and sizes. What is
 * optional a Worker of the version before does not send.
 */
export interface InferenceRequest {
  readonly requestId: string;
  /** The model after rewriting: what the engine will be asked for. */
  readonly model: string;
  /** Flow of the request: the tenant. */
  readonly tenant: string;
  readonly priority: number;
  /**
   * Content keys of the prompt's full blocks, first block first, two 32-bit words a key
   * (low, high). See kv/content-keys.ts. Length is at most 2 × CONTENT_KEYS_MAX.
   */
  readonly keys: Uint32Array;
  /** Estimate: bytes / BYTES_PER_TOKEN, over the whole prompt, also past the last key. */
  readonly promptTokens: number;
  /** What the client asked for at most; null if it set no limit. */
  readonly outputTokensMax: number | null;
  readonly bodyBytes: number;
  /**
   * The client's headers that the pool's configuration names, by lower-case name: read them with
   * `requestHeader`. One cookie stands as `cookie:<its name>`.
   */
  readonly headers?: Readonly<Record<string, string>>;
  /** Endpoints to choose from, as a trusted hop says; see subset.ts. Absent: the whole pool. */
  readonly subset?: readonly string[];
  readonly media?: RequestMedia;
  /** The longest times to the first token and between tokens that the client wants. */
  readonly ttftSloMs?: number;
  readonly tpotSloMs?: number;
}

/** Bounds of the optional facts. */
export const REQUEST_FACTS_LIMITS = {
  headersMax: 16,
  /** A longer value is left out: cut short, it could equal another's. */
  headerValueBytesMax: 512,
  /** Images, clips and videos; later ones are not told. */
  mediaMax: 64,
} as const;

/** Images, audio and video of a request, in its order. The same one twice stands twice. */
export interface RequestMedia {
  /** Two 32-bit words each (low, high): equal where data or URL are the same, and the salt. */
  readonly hashes: Uint32Array;
  /** Estimated prompt tokens of each, at least 1. */
  readonly tokens: Uint32Array;
}

/** A header of the request; undefined if the client sent none, or the configuration names none. */
export function requestHeader(
  request: Pick<InferenceRequest, "headers">,
  name: string,
): string | undefined {
  const { headers } = request;
  return headers !== undefined && Object.hasOwn(headers, name) ? headers[name] : undefined;
}
