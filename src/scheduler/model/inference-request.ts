/** Output reserved for a request at most; real lengths are rarely near what clients allow. */
export const OUTPUT_TOKENS_RESERVED_MAX = 512;

/** Output tokens that a request is charged with until its real usage is known. */
export function reservedOutputTokens(outputTokensMax: number | null): number {
  return Math.min(outputTokensMax ?? OUTPUT_TOKENS_RESERVED_MAX, OUTPUT_TOKENS_RESERVED_MAX);
}

/** What the scheduler knows of a request. Never the prompt itself: only keys, counts and sizes. */
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
}
