import { describe, expect, it } from "vitest";
import type { Settlement } from "../../src/durable/tickets/ticket.ts";
import { Usage, USAGE_PENDING_MAX } from "../../src/durable/usage.ts";
import { MetricRegistry } from "../../src/telemetry/metrics.ts";

function settlement(shape: Partial<Settlement> = {}): Settlement {
  return {
    ticket: "t",
    mayBeReported: false,
    requestId: "r",
    attempt: 0,
    tenant: "acme",
    model: "m",
    priority: 0,
    isEstimated: false,
    isUnpaid: false,
    ttftMs: 80,
    promptTokens: 100,
    cachedTokens: 64,
    completionTokens: 10,
    ...shape,
  };
}

describe("usage", () => {
  it("adds up by tenant and model, and is taken once", () => {
    const usage = new Usage(new MetricRegistry());
    usage.add(settlement());
    usage.add(settlement({ isEstimated: true, cachedTokens: 0 }));
    usage.add(settlement({ model: "other-model" }));
    expect(usage.take()).toMatchObject([
      { model: "m", requests: 2, estimatedRequests: 1, promptTokens: 200, cachedTokens: 64 },
      { model: "other-model", requests: 1, completionTokens: 10 },
    ]);
    expect([usage.isDirty, usage.take()]).toEqual([false, []]);
  });

  it("is nobody's of an attempt that another one won against", () => {
    const usage = new Usage(new MetricRegistry());
    usage.add(settlement({ isUnpaid: true }));
    expect(usage.take()).toEqual([]);
  });

  it("takes back what could not be written, beside what came since", () => {
    const usage = new Usage(new MetricRegistry());
    usage.add(settlement());
    const taken = usage.take();
    usage.add(settlement({ isEstimated: true }));
    usage.putBack(taken);
    expect(usage.take()).toEqual([
      {
        tenant: "acme",
        model: "m",
        requests: 2,
        estimatedRequests: 1,
        promptTokens: 200,
        cachedTokens: 128,
        completionTokens: 20,
      },
    ]);
  });

  it("counts pairs past the maximum together", () => {
    const usage = new Usage(new MetricRegistry());
    for (let i = 0; i < USAGE_PENDING_MAX + 5; i++) usage.add(settlement({ tenant: `t${i}` }));
    usage.add(settlement({ tenant: "t0" }));
    const taken = usage.take();
    expect(taken).toHaveLength(USAGE_PENDING_MAX + 1);
    expect(taken[0]).toMatchObject({ tenant: "t0", requests: 2 });
    expect(taken.at(-1)).toMatchObject({ tenant: "other", model: "other", requests: 5 });
  });

  it("shows measurements only: no estimates, and no zeros of an engine that refused", () => {
    const registry = new MetricRegistry();
    const usage = new Usage(registry);
    usage.add(settlement({ isEstimated: true, ttftMs: null }));
    usage.add(settlement({ promptTokens: 0, ttftMs: null }));
    expect(registry.render()).toBe("");
    usage.add(settlement());
    expect(registry.render()).toContain("llm_d_epp_request_ttft_seconds_count");
  });
});
