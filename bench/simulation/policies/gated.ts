// The shipped scheduler behind the shipped flow control, as a pool's object drives them.
//
//   choose ──► waits ──► let through when there is room ──► its endpoint is chosen then
//   finished, shed ──► settled by what it really took
//   every event, samples included ──► whose time is over leaves; who has room is let through
//
// Mirrors src/durable/queue with all keys of a prompt when its endpoint is chosen; see gate.ts.

import { schedulerConfigSchema } from "../../../src/scheduler/config/schema.ts";
import type { SchedulerConfig } from "../../../src/scheduler/config/scheduler-config.ts";
import { EndpointPicker } from "../../../src/scheduler/endpoint-picker.ts";
import type { TokenUsage } from "../../../src/scheduler/flow-control/contracts.ts";
import { saturationDetectorOf } from "../../../src/scheduler/flow-control/of-config.ts";
import { SaturationMeter } from "../../../src/scheduler/flow-control/saturation.ts";
import type { EndpointSample } from "../../../src/scheduler/model/endpoint-table.ts";
import { Plugins } from "../../../src/scheduler/plugins.ts";
import { Gate } from "../gate.ts";
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
  readonly #gate: Gate;

  constructor(config: SchedulerConfig, context: PolicyContext) {
    const { endpointCount, shape } = context;
    this.#context = context;
    this.#picker = new EndpointPicker(config);
    this.#pool = new Pool(endpointCount, shape.scrapeIntervalMs);
    const { table, tree, staleAfterMs } = this.#pool;
    const meter = new SaturationMeter(saturationDetectorOf(config, new Plugins(config)));
    const view = { endpoints: table.columns, pool: table, staleAfterMs };
    const saturation = (nowMs: number) => meter.measure({ ...view, nowMs }).saturation;
    this.#gate = new Gate({ config, endpointCount, tree, saturation });
  }

  choose(request: RoutedRequest, nowMs: number): undefined {
    const waiter = {
      request: request.inference,
      letThrough: (atMs: number) => this.#send(request, atMs),
      refused: () => this.#context.outlet.refuse(request),
    };
    this.#gate.enter(waiter, nowMs);
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
    this.#gate.advance(nowMs);
  }

  #settle({ inference }: RoutedRequest, nowMs: number, usage: TokenUsage): void {
    this.#gate.settled(inference.requestId, usage, nowMs);
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
}
