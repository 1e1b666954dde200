import { describe, expect, it } from "vitest";
import { schedulerConfigSchema } from "../../../src/scheduler/config/schema.ts";
import { FlowController } from "../../../src/scheduler/flow-control/flow-controller.ts";
import {
  flowControlSettingsOf,
  isFlowControlOn,
  saturationDetectorOf,
} from "../../../src/scheduler/flow-control/of-config.ts";
import { Plugins } from "../../../src/scheduler/plugins.ts";
import { drain, NOW_MS, queued } from "../support/flow-control.ts";

function load(flowControl: object, plugins: readonly object[] = []) {
  const config = schedulerConfigSchema.parse({
    featureGates: ["flowControl"],
    plugins: [{ type: "queue-scorer" }, ...plugins],
    schedulingProfiles: [{ name: "default", plugins: [{ pluginRef: "queue-scorer" }] }],
    flowControl,
  });
  return { config, plugins: new Plugins(config) };
}

function settingsOf(flowControl: object, plugins: readonly object[] = []) {
  const loaded = load(flowControl, plugins);
  return flowControlSettingsOf(loaded.config, loaded.plugins);
}

describe("flowControlSettingsOf", () => {
  it("gives each of a pool's objects its part of what may wait, rounded up", () => {
    const { config, plugins } = load({
      maxRequests: 10,
      maxBytes: "1000",
      priorityBands: [{ priority: 1, maxRequests: 7 }],
    });
    const { limits, bands } = flowControlSettingsOf(config, plugins, 4);
    expect(limits).toEqual({ requests: 3, bytes: 250, tokens: Infinity });
    expect(bands.get(1)!.limits.requests).toBe(2);
    expect(flowControlSettingsOf(config, plugins).limits.requests).toBe(10);
  });

  it("has llm-d's bounds and times where nothing is written", () => {
    const { limits, defaultBand, defaultNegativeBand, eviction } = settingsOf({});
    expect(limits).toEqual({ requests: Infinity, bytes: Infinity, tokens: Infinity });
    for (const band of [defaultBand, defaultNegativeBand])
      expect(band).toMatchObject({
        limits: { requests: 5_000, bytes: 1_000_000_000, tokens: Infinity },
        ttls: { withEndpointsMs: 60_000, withoutEndpointsMs: 60_000 },
      });
    expect(eviction).toBeUndefined();
  });

  it("takes bounds, times and policies as they are written, by band", () => {
    const { limits, bands, defaultBand, defaultNegativeBand } = settingsOf(
      {
        maxRequests: "1k",
        maxBytes: "10Mi",
        maxTokens: "2M",
        defaultRequestTTL: "30s",
        noEndpointRequestTTL: "5m",
        defaultNegativePriorityBand: { maxRequests: 7 },
        priorityBands: [
          { priority: 10, maxTokens: 500, defaultRequestTTL: "0s" },
          { priority: 5, fairnessPolicyRef: "round-robin-fairness-policy" },
        ],
      },
      [{ type: "round-robin-fairness-policy" }],
    );
    expect(limits).toEqual({ requests: 1_000, bytes: 10 * 2 ** 20, tokens: 2_000_000 });
    expect(defaultNegativeBand.limits.requests).toBe(7);
    expect(bands.get(10)).toMatchObject({
      limits: { tokens: 500 },
      ttls: { withEndpointsMs: Infinity, withoutEndpointsMs: 300_000 },
    });
    expect(bands.get(5)!.ttls.withEndpointsMs).toBe(30_000);
    expect(bands.get(5)!.fairness).not.toBe(defaultBand.fairness);
  });

  it("says the same when the configuration is read again", () => {
    const { config } = load({
      maxTokens: 9,
      priorityBands: [{ priority: 1, maxTokens: 3, defaultRequestTTL: "2s" }],
    });
    expect(schedulerConfigSchema.parse(config)).toEqual(config);
  });

  it.for([
    { name: "llm-d's policies", plugins: [] },
    {
      name: "those that are listed",
      plugins: [
        { name: "mine", type: "sheddable-eviction-filter" },
        { type: "priority-then-time-eviction-order-policy" },
      ],
    },
  ])("ends requests by $name", ({ plugins }) => {
    const { eviction } = settingsOf({ enableEviction: true }, plugins);
    const dispatchedAtMs = NOW_MS;
    expect(eviction!.filter.mayEvict({ request: queued({ priority: -1 }), dispatchedAtMs })).toBe(
      true,
    );
  });

  it("makes a controller that works, and a detector", () => {
    const { config, plugins } = load({});
    const controller = new FlowController(flowControlSettingsOf(config, plugins), NOW_MS);
    controller.setEndpointCount(1, NOW_MS);
    controller.enqueue(queued(), NOW_MS);
    expect(drain(controller)).toHaveLength(1);
    expect(saturationDetectorOf(config, plugins).lagMs(1_000)).toBeGreaterThan(1_000);
  });
});

it("isFlowControlOn follows the gate", () => {
  expect(isFlowControlOn(load({}).config)).toBe(true);
  expect(isFlowControlOn(schedulerConfigSchema.parse({}))).toBe(false);
});
