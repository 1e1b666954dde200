// The shipped scheduler under a configuration, as a pool's object drives it.

import { schedulerConfigSchema } from "../../../src/scheduler/config/schema.ts";
import { EndpointPicker, type Picked } from "../../../src/scheduler/endpoint-picker.ts";
import { type Chosen, Pool } from "../pool.ts";
import type { Policy, PolicyContext, PolicyDefinition, RoutedRequest } from "../policy.ts";

const NOBODY: readonly number[] = [];

/** `config` as a person would write it; undefined is what a pool does that configures nothing. */
export function shipped(
  named: Pick<PolicyDefinition, "name" | "about">,
  config?: unknown,
): PolicyDefinition {
  return { ...named, create: (context) => createShipped(config, context) };
}

/** A policy, and what it goes by. */
export interface ShippedPolicy extends Policy {
  readonly pool: Pool;
}

export function createShipped(config: unknown, context: PolicyContext): ShippedPolicy {
  const picker = new EndpointPicker(schedulerConfigSchema.parse(config));
  const { scrapeIntervalMs, roles } = context.shape;
  const pool = new Pool(context.endpointCount, scrapeIntervalMs, roles);
  return {
    pool,
    choose(request: RoutedRequest, nowMs: number): ArrayLike<number> {
      const picked = picker.pick({
        request: request.inference,
        endpoints: pool.table.columns,
        pool: pool.table,
        prefixSources: pool.prefixSources,
        nowMs,
        staleAfterMs: pool.staleAfterMs,
        seed: Math.floor(context.rng() * 0x1_0000_0000),
      });
      if (!picked.ok) return NOBODY;
      pool.open(request, chosenOf(picked), nowMs);
      return picked.slots;
    },
    prefillSlot: (request) => pool.prefillSlot(request),
    prefilled: (request, slot, how) => pool.prefilled(request, slot, how),
    dispatched: (request, slot, nowMs) => pool.dispatched(request, slot, nowMs),
    finished: (request, _, how) => pool.finished(request, how),
    shed: (request) => pool.shed(request),
    sampled: (slot, sample, sampledAtMs) => pool.sampled(slot, sample, sampledAtMs),
  };
}

export function chosenOf(picked: Picked): Chosen {
  const { slots, matchedBlocks, prefill, prefillMatchedBlocks = 0 } = picked;
  const slot = slots[0]!;
  const prefillSlot = prefill?.[0];
  // Nobody hands over to himself.
  if (prefillSlot === undefined || prefillSlot === slot) return { slot, matchedBlocks };
  return {
    slot,
    matchedBlocks,
    prefill: { slot: prefillSlot, matchedBlocks: prefillMatchedBlocks },
  };
}
