// Flow control of a simulated pool: who has no room waits, and is let through by events.
//
// Mirrors src/durable/queue, without open calls and numbered places. Nobody is ended for another.

import type { SchedulerConfig } from "../../src/scheduler/config/scheduler-config.ts";
import type { QueuedRequest, TokenUsage } from "../../src/scheduler/flow-control/contracts.ts";
import { FlowController } from "../../src/scheduler/flow-control/flow-controller.ts";
import {
  flowControlSettingsOf,
  isFlowControlOn,
} from "../../src/scheduler/flow-control/of-config.ts";
import { thinKeys } from "../../src/scheduler/flow-control/queued-keys.ts";
import { CONTENT_BLOCK_TOKENS } from "../../src/scheduler/kv/content-keys.ts";
import type { PrefixTree } from "../../src/scheduler/kv/prefix-tree.ts";
import { ENDPOINTS_MAX } from "../../src/scheduler/model/endpoint-table.ts";
import {
  type InferenceRequest,
  reservedOutputTokens,
} from "../../src/scheduler/model/inference-request.ts";
import { creditRoom, type QueueOutlook, queueOutlook } from "../../src/durable/queue/outlook.ts";
import type { PoolView, SaturationMeter } from "../../src/scheduler/flow-control/saturation.ts";
import { Plugins } from "../../src/scheduler/plugins.ts";

export interface GateOptions {
  readonly config: SchedulerConfig;
  readonly endpointCount: number;
  readonly tree: PrefixTree;
  readonly saturation: (nowMs: number) => number;
}

/** Told what becomes of a request that came to the gate. */
export interface Waiter {
  readonly request: InferenceRequest;
  letThrough(nowMs: number): void;
  refused(): void;
}

export class Gate {
  readonly #options: GateOptions;
  readonly #controller: FlowController | undefined;
  readonly #waiters = new Map<string, Waiter>();
  readonly #matched = new Int32Array(ENDPOINTS_MAX);

  constructor(options: GateOptions) {
    const { config, endpointCount } = options;
    this.#options = options;
    if (!isFlowControlOn(config)) return;
    this.#controller = new FlowController(flowControlSettingsOf(config, new Plugins(config)), 0);
    this.#controller.setEndpointCount(endpointCount, 0);
  }

  get waiting(): number {
    return this.#waiters.size;
  }

  /** Tells the waiter at once, or later. */
  enter(waiter: Waiter, nowMs: number): void {
    if (this.#controller === undefined) return waiter.letThrough(nowMs);
    const queued = this.#queued(waiter.request, nowMs);
    this.#waiters.set(queued.requestId, waiter);
    const answer = this.#controller.enqueue(queued, nowMs);
    if (answer.ok) for (const displaced of answer.displaced) this.#refuse(displaced.request);
    else this.#refuse(queued);
    this.advance(nowMs);
  }

  /** What one may expect that comes now; undefined where nobody ever waits. */
  outlook(meter: SaturationMeter, view: PoolView): QueueOutlook | undefined {
    return this.#controller && queueOutlook(this.#controller, meter, view);
  }

  /** Requests that may be let through elsewhere; undefined where nothing says how many. */
  creditRoom(meter: SaturationMeter, view: PoolView): number | undefined {
    return this.#controller && creditRoom(this.#controller, meter, view);
  }

  /** A request was let through elsewhere. */
  passed(request: QueuedRequest, nowMs: number): void {
    this.#controller?.passed(request, nowMs);
  }

  /** A request that was let through has ended. */
  settled(requestId: string, usage: TokenUsage, nowMs: number, attempt = 0): void {
    this.#controller?.settled(requestId, attempt, { nowMs, usage });
    this.advance(nowMs);
  }

  /** Something has changed: who has room now goes on. */
  advance(nowMs: number): void {
    const controller = this.#controller;
    if (controller === undefined) return;
    for (const { request } of controller.advance(nowMs)) this.#refuse(request);
    for (;;) {
      const saturation = this.#options.saturation(nowMs);
      const queued = controller.next(nowMs, { saturation, matchTokens: this.#matchTokens });
      if (queued === undefined) return;
      this.#take(queued)?.letThrough(nowMs);
    }
  }

  #refuse(queued: QueuedRequest): void {
    this.#take(queued)?.refused();
  }

  #take({ requestId }: QueuedRequest): Waiter | undefined {
    const waiter = this.#waiters.get(requestId);
    this.#waiters.delete(requestId);
    return waiter;
  }

  #queued(request: InferenceRequest, nowMs: number): QueuedRequest {
    const { requestId, tenant, priority, promptTokens, bodyBytes, keys } = request;
    const cachedTokens = this.#bestMatch(keys) * CONTENT_BLOCK_TOKENS;
    return {
      requestId,
      attempt: 0,
      fairnessId: tenant,
      priority,
      weight: 1,
      bytes: bodyBytes,
      promptTokens,
      uncachedTokens: Math.max(0, promptTokens - cachedTokens),
      outputTokens: reservedOutputTokens(request.outputTokensMax),
      receivedAtMs: nowMs,
      ...thinKeys(keys),
    };
  }

  readonly #matchTokens = ({ keys, blocksPerKey }: QueuedRequest): number =>
    this.#bestMatch(keys) * blocksPerKey * CONTENT_BLOCK_TOKENS;

  /** Keys that the endpoint holds which holds most of them. */
  #bestMatch(keys: Uint32Array): number {
    const { tree, endpointCount } = this.#options;
    tree.match(keys, this.#matched);
    let best = 0;
    for (let slot = 0; slot < endpointCount; slot++) best = Math.max(best, this.#matched[slot]!);
    return best;
  }
}
