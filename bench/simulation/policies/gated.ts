// The shipped scheduler behind the shipped flow control, as a pool's object drives them.
//
//   choose ──► waits ──► let through when there is room ──► its endpoint is chosen then
//   finished, shed ──► settled by what it really took
//   every event, samples included ──► whose time is over leaves; who has room is let through
//
// Mirrors src/durable/queue, without open calls and numbered places, and with all keys of a
// prompt when its endpoint is chosen. Nobody is ended for another.

import { schedulerConfigSchema } from "../../../src/scheduler/config/schema.ts";
import type { SchedulerConfig } from "../../../src/scheduler/config/scheduler-config.ts";
import { EndpointPicker } from "../../../src/scheduler/endpoint-picker.ts";
import type { QueuedRequest, TokenUsage } from "../../../src/scheduler/flow-control/contracts.ts";
import { FlowController } from "../../../src/scheduler/flow-control/flow-controller.ts";
import {
  flowControlSettingsOf,
  saturationDetectorOf,
} from "../../../src/scheduler/flow-control/of-config.ts";
import { thinKeys } from "../../../src/scheduler/flow-control/queued-keys.ts";
import { SaturationMeter } from "../../../src/scheduler/flow-control/saturation.ts";
import { CONTENT_BLOCK_TOKENS } from "../../../src/scheduler/kv/content-keys.ts";
import type { EndpointSample } from "../../../src/scheduler/model/endpoint-table.ts";
import { ENDPOINTS_MAX } from "../../../src/scheduler/model/endpoint-table.ts";
import { reservedOutputTokens } from "../../../src/scheduler/model/inference-request.ts";
import { Plugins } from "../../../src/scheduler/plugins.ts";
import { Pool } from "../pool.ts";
import type {
  Finished,
  Policy,
  PolicyContext,
  PolicyDefinition,
  RoutedRequest,
} from "../policy.ts";

const NOTHING: TokenUsage = { promptTokens: 0, uncachedTokens: 0, outputTokens: 0 };

/** `config` as a person would write it, with the flowControl gate on. */
export function gated(
  named: Pick<PolicyDefinition, "name" | "about">,
  config: unknown,
): PolicyDefinition {
  const parsed = schedulerConfigSchema.parse(config);
  return { ...named, create: (context) => new Gated(parsed, context) };
}

class Gated implements Policy {
  readonly #context: PolicyContext;
  readonly #picker: EndpointPicker;
  readonly #pool: Pool;
  readonly #controller: FlowController;
  readonly #meter: SaturationMeter;
  /** Those that wait or are in flight. */
  readonly #byId = new Map<string, RoutedRequest>();
  readonly #matchedBlocks = new Int32Array(ENDPOINTS_MAX);

  constructor(config: SchedulerConfig, context: PolicyContext) {
    const plugins = new Plugins(config);
    this.#context = context;
    this.#picker = new EndpointPicker(config);
    this.#pool = new Pool(context.endpointCount, context.shape.scrapeIntervalMs);
    this.#controller = new FlowController(flowControlSettingsOf(config, plugins), 0);
    this.#controller.setEndpointCount(context.endpointCount, 0);
    this.#meter = new SaturationMeter(saturationDetectorOf(config, plugins));
  }

  choose(request: RoutedRequest, nowMs: number): undefined {
    const queued = this.#queued(request, nowMs);
    this.#byId.set(queued.requestId, request);
    const answer = this.#controller.enqueue(queued, nowMs);
    if (answer.ok) for (const displaced of answer.displaced) this.#refuse(displaced.request);
    else this.#refuse(queued);
    this.#letThrough(nowMs);
    return undefined;
  }

  dispatched(request: RoutedRequest, slot: number, nowMs: number): void {
    this.#pool.dispatched(request, slot, nowMs);
  }

  finished(request: RoutedRequest, _slot: number, how: Finished, nowMs: number): void {
    this.#pool.finished(request, how);
    const { promptTokens, cachedTokens, completionTokens: outputTokens } = how;
    const uncachedTokens = promptTokens - cachedTokens;
    this.#settle(request, nowMs, { promptTokens, uncachedTokens, outputTokens });
  }

  shed(request: RoutedRequest, _slot: number, nowMs: number): void {
    this.#pool.shed(request);
    this.#settle(request, nowMs, NOTHING);
  }

  sampled(slot: number, sample: EndpointSample, sampledAtMs: number, nowMs: number): void {
    this.#pool.sampled(slot, sample, sampledAtMs);
    this.#letThrough(nowMs);
  }

  #settle({ inference }: RoutedRequest, nowMs: number, usage: TokenUsage): void {
    this.#byId.delete(inference.requestId);
    this.#controller.settled(inference.requestId, 0, { nowMs, usage });
    this.#letThrough(nowMs);
  }

  #letThrough(nowMs: number): void {
    for (const { request } of this.#controller.advance(nowMs)) this.#refuse(request);
    for (;;) {
      const conditions = { saturation: this.#saturation(nowMs), matchTokens: this.#matchTokens };
      const queued = this.#controller.next(nowMs, conditions);
      if (queued === undefined) return;
      this.#send(this.#byId.get(queued.requestId)!, nowMs);
    }
  }

  #saturation(nowMs: number): number {
    const { table, staleAfterMs } = this.#pool;
    const view = { endpoints: table.columns, pool: table, nowMs, staleAfterMs };
    return this.#meter.measure(view).saturation;
  }

  #send(request: RoutedRequest, nowMs: number): void {
    const pool = this.#pool;
    const picked = this.#picker.pick({
      request: request.inference,
      endpoints: pool.table.columns,
      pool: pool.table,
      prefixSources: pool.prefixSources,
      nowMs,
      staleAfterMs: pool.staleAfterMs,
      seed: Math.floor(this.#context.rng() * 0x1_0000_0000),
    });
    if (!picked.ok) {
      this.#context.outlet.refuse(request);
      this.#settle(request, nowMs, NOTHING);
      return;
    }
    const { slots, matchedBlocks } = picked;
    pool.open(request, { slot: slots[0]!, matchedBlocks }, nowMs);
    this.#context.outlet.send(request, picked.slots);
  }

  #refuse({ requestId }: QueuedRequest): void {
    this.#context.outlet.refuse(this.#byId.get(requestId)!);
    this.#byId.delete(requestId);
  }

  #queued({ inference }: RoutedRequest, nowMs: number): QueuedRequest {
    const { requestId, tenant, priority, promptTokens, bodyBytes, keys } = inference;
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
      outputTokens: reservedOutputTokens(inference.outputTokensMax),
      receivedAtMs: nowMs,
      ...thinKeys(keys),
    };
  }

  readonly #matchTokens = ({ keys, blocksPerKey }: QueuedRequest): number =>
    this.#bestMatch(keys) * blocksPerKey * CONTENT_BLOCK_TOKENS;

  /** Keys that the endpoint holds which holds most of them. */
  #bestMatch(keys: Uint32Array): number {
    this.#pool.tree.match(keys, this.#matchedBlocks);
    let best = 0;
    for (let slot = 0; slot < this.#context.endpointCount; slot++)
      best = Math.max(best, this.#matchedBlocks[slot]!);
    return best;
  }
}
