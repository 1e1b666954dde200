// Settled usage: counted in memory at once, written coarsely by whoever owns the storage.

import { METRIC } from "../telemetry/names.ts";
import type { MetricRegistry } from "../telemetry/metrics.ts";
import type { UsageTotals } from "./pool-storage.ts";
import type { Settlement } from "./tickets/ticket.ts";

/** Tenant and model pairs waiting to be written; later pairs wait together. */
export const USAGE_PENDING_MAX = 1_000;

export class Usage {
  readonly #registry: MetricRegistry;
  #pending = new Map<string, UsageTotals>();

  constructor(registry: MetricRegistry) {
    this.#registry = registry;
  }

  get isDirty(): boolean {
    return this.#pending.size > 0;
  }

  add(settlement: Settlement): void {
    if (settlement.isUnpaid) return;
    const totals = this.#totals(settlement.tenant, settlement.model);
    totals.requests += 1;
    totals.estimatedRequests += settlement.isEstimated ? 1 : 0;
    totals.promptTokens += settlement.promptTokens;
    totals.cachedTokens += settlement.cachedTokens;
    totals.completionTokens += settlement.completionTokens;
    if (!settlement.isEstimated) this.#observe(settlement);
  }

  /** What was added since the last call. */
  take(): UsageTotals[] {
    const taken = [...this.#pending.values()];
    this.#pending = new Map();
    return taken;
  }

  /** What was taken could not be written. */
  putBack(taken: readonly UsageTotals[]): void {
    for (const each of taken) {
      const totals = this.#totals(each.tenant, each.model);
      totals.requests += each.requests;
      totals.estimatedRequests += each.estimatedRequests;
      totals.promptTokens += each.promptTokens;
      totals.cachedTokens += each.cachedTokens;
      totals.completionTokens += each.completionTokens;
    }
  }

  #totals(tenant: string, model: string): UsageTotals {
    const key = `${tenant}\n${model}`;
    const known = this.#pending.get(key);
    if (known !== undefined) return known;
    if (this.#pending.size >= USAGE_PENDING_MAX && tenant !== "other") {
      return this.#totals("other", "other");
    }
    const totals = {
      tenant,
      model,
      requests: 0,
      estimatedRequests: 0,
      promptTokens: 0,
      cachedTokens: 0,
      completionTokens: 0,
    };
    this.#pending.set(key, totals);
    return totals;
  }

  #observe(settlement: Settlement): void {
    const labels = {
      model_name: settlement.model,
      target_model_name: settlement.model,
      fairness_id: settlement.tenant,
      priority: String(settlement.priority),
    };
    // An engine that refused has counted nothing; zeros would drown the distribution.
    if (settlement.promptTokens > 0) {
      this.#registry.observe(METRIC.requestInputTokens, labels, settlement.promptTokens);
      this.#registry.observe(METRIC.requestCachedTokens, labels, settlement.cachedTokens);
      this.#registry.observe(METRIC.requestOutputTokens, labels, settlement.completionTokens);
    }
    if (settlement.ttftMs !== null) {
      this.#registry.observe(METRIC.requestTtftSeconds, labels, settlement.ttftMs / 1_000);
    }
  }
}
