// The contract of a routing policy, ours and everyone else's.

import type { Engine } from "../../src/agents/simulator/model/engine.ts";
import type { EndpointSample } from "../../src/scheduler/model/endpoint-table.ts";
import type { InferenceRequest } from "../../src/scheduler/model/inference-request.ts";
import type { Rng } from "../../src/scheduler/support/rng.ts";
import type { PoolShape } from "./pool-shape.ts";
import type { WorkloadRequest } from "./workload.ts";

/** A request on its way through the router. One object from `choose` to `finished`. */
export interface RoutedRequest {
  /** Counted from 0 in order of arrival. */
  readonly index: number;
  /** Requests of one client share it: what a cookie or a session header would say. */
  readonly session: number;
  /** What a router knows of it. */
  readonly inference: InferenceRequest;
  /** What only an oracle may look at. */
  readonly truth: WorkloadRequest;
}

/** How a request ended, as a relay reports it. */
export interface Finished {
  /** From the decision to the first token, as the relay sees it. */
  readonly ttftMs: number;
  readonly durationMs: number;
  /** The engine's own usage report. */
  readonly promptTokens: number;
  readonly cachedTokens: number;
  readonly completionTokens: number;
}

/** How a prefill apart ended, as a relay reports it. */
export interface Prefilled {
  readonly durationMs: number;
  readonly promptTokens: number;
  readonly cachedTokens: number;
}

/** Chooses endpoints. One per run; endpoints are slots 0 .. endpointCount - 1. */
export interface Policy {
  /**
   * Slots to try, best first; only used until the next call. None: the request is shed. The next
   * slot is tried when an engine's queue is full. undefined: the outlet is told, now or later.
   */
  choose(request: RoutedRequest, nowMs: number): ArrayLike<number> | undefined;
  /**
   * Asked after `choose`, or after the outlet was told: where the prompt is computed first, and handed over
   * from. Undefined: where the request goes on.
   */
  prefillSlot?(request: RoutedRequest): number | undefined;
  /** Word has come that the prompt is computed there. */
  prefilled?(request: RoutedRequest, slot: number, how: Prefilled): void;
  /** Word has come that the engine at `slot` got the prompt. */
  dispatched?(request: RoutedRequest, slot: number, nowMs: number): void;
  /** Word has come of the first token. Our pool is not told; others that sit in the stream are. */
  firstToken?(request: RoutedRequest, slot: number, nowMs: number): void;
  /** Word has come of the end. */
  finished?(request: RoutedRequest, slot: number, how: Finished, nowMs: number): void;
  /** Every engine asked had a full queue, `lastSlot` the last of them. */
  shed?(request: RoutedRequest, lastSlot: number, nowMs: number): void;
  /** A sample of the engine's metrics has come, taken at `sampledAtMs`. */
  sampled?(slot: number, sample: EndpointSample, sampledAtMs: number, nowMs: number): void;
}

/** Where a policy says what becomes of requests that `choose` gave no answer for. */
export interface Outlet {
  /** It goes to the first of `slots` now, to the next when that one's queue is full. */
  send(request: RoutedRequest, slots: ArrayLike<number>): void;
  /** It is turned away. */
  refuse(request: RoutedRequest): void;
}

export interface PolicyContext {
  readonly endpointCount: number;
  readonly shape: PoolShape;
  /** Of the policy alone: workloads are the same whatever it draws. */
  readonly rng: Rng;
  /** The engines themselves. Only an oracle may look. */
  readonly engines: readonly Engine<number>[];
  readonly outlet: Outlet;
}

export interface PolicyDefinition {
  readonly name: string;
  /** In one sentence, with its source. */
  readonly about: string;
  /** From one sample of an engine's metrics to the next, where it is not the pool's. */
  readonly scrapeIntervalMs?: number;
  create(context: PolicyContext): Policy;
}
