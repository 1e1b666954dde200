// The pool as the scheduler sees it: one typed array a fact, one slot an endpoint.
//
// A slot is given at discovery and kept until the endpoint leaves, so the prefix tree can name
// holders by slot. Freed slots are reused; whoever frees one must also remove it from the tree.

import type { AdapterTable } from "./adapters.ts";

/**
 * Column-oriented view of a pool. Index `slot` is one endpoint in every column. Loads are as last
 * reported plus what was dispatched since that report, so that a burst of picks between two samples
 * sees its own effect.
 */
export interface EndpointColumns {
  /** One past the highest slot in use. */
  readonly slotCount: number;
  /** 1 where a slot holds an endpoint that may be picked. */
  readonly isPresent: Uint8Array;
  /** Requests waiting in the engine's queue, plus dispatches since the sample. */
  readonly queueDepth: Int32Array;
  /** Requests the engine runs, as reported. */
  readonly runningRequests: Int32Array;
  /** Fraction of KV blocks in use, 0..1; 1 while unknown. */
  readonly kvUsage: Float64Array;
  /** Tokens of KV cache the engine holds in total; 0 while unknown. */
  readonly kvCapacityTokens: Float64Array;
  /**
   * Unix ms of the last good sample; -Infinity before one that told the queue's length. Infinity where none
   * will come, by design: see isUnsampled.
   */
  readonly sampledAtMs: Float64Array;
  /** Requests and estimated tokens with an open ticket. */
  readonly inFlightRequests: Int32Array;
  readonly inFlightTokens: Float64Array;
  /** Unix ms at which the last ejection ends; 0 for an endpoint that nothing speaks against. */
  readonly ejectedUntilMs: Float64Array;
  /** Unix ms at which it came, or its engine started anew; 0 for one that has always been there. */
  readonly cameAtMs: Float64Array;
  /** Unix ms at which the prompts sent there will have been computed, as far as is known. */
  readonly prefillBusyUntilMs: Float64Array;
  /** Learned: what a prompt token that is not cached takes, beside whatever else runs. */
  readonly prefillMsPerToken: Float64Array;
  /** Learned: what a prompt token takes to get there from the endpoint that computed it. */
  readonly transferMsPerToken: Float64Array;
  /** Learned: mean time from a request's first token to its end. */
  readonly serviceMs: Float64Array;
  /** Mean tokens that a request sent there adds to the KV memory in use; 0 before the first. */
  readonly requestTokens: Float64Array;
  /** Tokens of cold prompts sent there; those that others were sent after count less. */
  readonly coldTokens: Float64Array;
  /** LoRA adapters the engine can have active at once; 0 while unknown. */
  readonly loraMax: Int32Array;
  /** Which adapters are active and waiting where. */
  readonly adapters: AdapterTable;
  /**
   * Numbers the configuration names, by slot: custom metrics, GPU utilization. NaN where the endpoint
   * has not told it lately; undefined for a key that the configuration does not name.
   */
  scalar(attributeKey: string): Float64Array | undefined;
}
