// The shipped scheduler under a configuration, as a pool's object drives it.

import { schedulerConfigSchema } from "../../../src/scheduler/config/schema.ts";
import { EndpointPicker } from "../../../src/scheduler/endpoint-picker.ts";
import { Pool } from "../pool.ts";
import type { Policy, PolicyContext, PolicyDefinition, RoutedRequest } from "../policy.ts";

const NOBODY: readonly number[] = [];

/** `config` as a person would write it; undefined is what a pool does that configures nothing. */
export function shipped(
  named: Pick<PolicyDefinition, "name" | "about">,
  config?: unknown,
): PolicyDefinition {
  return { ...named, create: (context) => createShipped(config, context) };
}

function createShipped(config: unknown, context: PolicyContext): Policy {
  const picker = new EndpointPicker(schedulerConfigSchema.parse(config));
  const pool = new Pool(context.endpointCount, context.shape.scrapeIntervalMs);
  return {
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
      pool.open(request, picked.slots[0]!, picked.matchedBlocks, nowMs);
      return picked.slots;
    },
    dispatched: (request, slot, nowMs) => pool.dispatched(request, slot, nowMs),
    finished: (request, _, how) => pool.finished(request, how),
    shed: (request) => pool.shed(request),
    sampled: (slot, sample, sampledAtMs) => pool.sampled(slot, sample, sampledAtMs),
  };
}
