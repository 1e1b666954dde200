// What a run at the edge is made of, and what comes of it.

import type { Outcome } from "../outcome.ts";
import type { Phase } from "../workload.ts";
import type { BoundFigures } from "./bound-watch.ts";
import type { MessageBytes } from "./messages.ts";
import type { EdgeTopology } from "./topology.ts";
import type { Decided, Way } from "./ways.ts";

export interface EdgeOptions {
  readonly topology: EdgeTopology;
  readonly way: Way;
  readonly shards: number;
  readonly phase: Phase;
  readonly seed: number;
  /** As a person would write it; undefined is what a pool does that configures nothing. */
  readonly config?: unknown;
  /** Requests under way at one endpoint at most, as the configuration has it. */
  readonly concurrencyMax?: number | undefined;
}

export interface EdgeOutcome extends Outcome {
  readonly reason: Decided["reason"];
  /** By an isolate, without asking at all. */
  readonly isLocal: boolean;
  readonly shard: number;
  readonly colo: number;
  /** Of the prompt, held by whoever held most of it when it came to its engine. */
  readonly bestTokens: number;
}

export interface EdgeResult {
  readonly outcomes: readonly EdgeOutcome[];
  readonly virtualMs: number;
  readonly bytes: MessageBytes;
  readonly splitChanges: number;
  readonly bounds: BoundFigures;
  /** Decisions in each shard, and for it. */
  readonly shardLoads: readonly number[];
  /** Of what was sent and asked about meanwhile. */
  readonly calledOffShare: number;
}
