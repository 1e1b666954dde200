// llm-d's unit cases of what becomes of a request, by name.
//
// Source: llm-d-router pkg/epp/requestcontrol/admission_test.go, pkg/epp/flowcontrol/controller/
// {controller,config}_test.go. Left out is what there is no equivalent of: goroutines that hand a request
// over (Distribution, Retry, RegistryConnectionError, ManagedQueueError), an outcome nobody has set,
// channel sizes and sweep intervals. TestLegacyAdmissionController_Admit is with SheddableGate.

import { describe, expect, it } from "vitest";
import { schedulerConfigSchema } from "../../src/scheduler/config/schema.ts";
import { FLOW_IDLE_MS } from "../../src/scheduler/flow-control/bands.ts";
import { flowControlSettingsOf } from "../../src/scheduler/flow-control/of-config.ts";
import type { FlowRefusal } from "../../src/scheduler/flow-control/outcomes.ts";
import { Plugins } from "../../src/scheduler/plugins.ts";
import { TICK_MS } from "../../src/scheduler/support/timer-wheel.ts";
import { dropError, statusOf as statusOfCode } from "../../src/worker/openai/errors.ts";
import { createController, drain, NOW_MS, queued } from "../scheduler/support/flow-control.ts";

const LATER_MS = NOW_MS + 2_000;
const band = { ttlMs: 1_000, limits: { requests: 1 } };

/** As a client sees it. */
function statusOf({ reason, retryAfterMs }: FlowRefusal): number {
  return statusOfCode(dropError(reason, retryAfterMs).code);
}

/** One that waits, and what becomes of it. */
function waiting(endpointCount = 1) {
  const controller = createController({ band, endpointCount });
  const request = queued();
  controller.enqueue(request, NOW_MS);
  return { controller, request };
}

describe("TestTranslateFlowControlOutcome", () => {
  it("dispatched returns nil", () => {
    const { controller, request } = waiting();
    expect(drain(controller)).toEqual([request.requestId]);
    expect(controller.advance(LATER_MS)).toEqual([]);
  });

  it.for([
    { name: "capacity rejection returns 429", endpoints: 1, want: [429, "rejected-saturated"] },
    {
      name: "capacity rejection of an empty pool returns 503",
      endpoints: 0,
      want: [503, "rejected-no-endpoints"],
    },
  ])("$name", ({ endpoints, want }) => {
    const { controller } = waiting(endpoints);
    const refused = controller.enqueue(queued(), NOW_MS);
    expect(refused.ok ? [] : [statusOf(refused), refused.reason]).toEqual(want);
  });

  it.for([
    {
      name: "TTL expiry with endpoints returns 429",
      endpoints: 1,
      want: [429, "rejected-ttl-expired", "request timed out in queue"],
    },
    {
      name: "TTL expiry with empty pool returns 503, as does no-endpoint budget expiry",
      endpoints: 0,
      want: [
        503,
        "rejected-no-endpoints",
        "request timed out in queue and no endpoints are available",
      ],
    },
  ])("$name", ({ endpoints, want }) => {
    const { controller } = waiting(endpoints);
    const ends = controller.advance(LATER_MS);
    expect(ends.map((end) => [statusOf(end), end.reason, end.detail])).toEqual([want]);
  });

  it("context cancellation has llm-d's reason; its status is 499, which only the log sees", () => {
    const { controller, request } = waiting();
    const cancelled = controller.cancel(request.requestId, 0, NOW_MS)!;
    expect([statusOf(cancelled), cancelled.reason, cancelled.detail]).toEqual([
      499,
      "rejected-context-cancelled",
      "client disconnected",
    ]);
  });

  it("shutdown eviction and shutdown rejection return 503", () => {
    const { controller } = waiting();
    const refused = controller.shutDown(NOW_MS);
    const late = controller.enqueue(queued(), NOW_MS);
    if (!late.ok) refused.push({ ...late, request: queued() });
    expect(refused.map((each) => [statusOf(each), each.reason])).toEqual([
      [503, "rejected-shutting-down"],
      [503, "rejected-shutting-down"],
    ]);
  });

  it("shutdown takes precedence over TTL", () => {
    const { controller } = waiting();
    expect(controller.shutDown(LATER_MS)).toMatchObject([{ reason: "rejected-shutting-down" }]);
    expect(controller.advance(LATER_MS)).toEqual([]);
  });
});

describe("TestFlowController_EnqueueAndWait", () => {
  it("OnReqCtxExpiredBeforeDistribution: whose time was over before it came is let through by no look", () => {
    const controller = createController({ band: { ttlMs: 1_000 } });
    const old = queued({ receivedAtMs: NOW_MS - 2_000 });
    controller.enqueue(old, NOW_MS);
    expect(controller.advance(NOW_MS + TICK_MS)).toMatchObject([
      { reason: "rejected-ttl-expired" },
    ]);
    expect(drain(controller, NOW_MS + TICK_MS)).toEqual([]);
  });

  it("OnControllerShutdown: who comes after is refused", () => {
    const controller = createController();
    controller.shutDown(NOW_MS);
    expect(controller.enqueue(queued(), NOW_MS)).toMatchObject({
      reason: "rejected-shutting-down",
    });
    expect(controller.waitingCount).toBe(0);
  });

  it("OnControllerShutdownTakesPrecedenceOverRequestCancellation: it ends once", () => {
    const { controller, request } = waiting();
    expect(controller.shutDown(NOW_MS)).toHaveLength(1);
    expect(controller.cancel(request.requestId, 0, NOW_MS)).toBeUndefined();
  });

  it("OnReqCtxCancelledAfterDistribution, and OnReqCtxTimeoutAfterDistribution: it waits no more", () => {
    for (const end of ["cancelled", "timeout"]) {
      const { controller, request } = waiting();
      if (end === "cancelled") controller.cancel(request.requestId, 0, NOW_MS);
      else controller.advance(LATER_MS);
      expect([controller.waitingCount, drain(controller, LATER_MS)]).toEqual([0, []]);
    }
  });

  it("LeaseHeldDuringQueueing: a flow in which something waits or is in flight is not collected", () => {
    const controller = createController();
    const request = queued({ fairnessId: "patient" });
    controller.enqueue(request, NOW_MS);
    const flows = () => controller.snapshot(NOW_MS).bands[0]!.flows.map((flow) => flow.fairnessId);
    controller.advance(NOW_MS + 2 * FLOW_IDLE_MS);
    expect(flows()).toEqual(["patient"]);
    drain(controller, NOW_MS + 2 * FLOW_IDLE_MS);
    controller.advance(NOW_MS + 4 * FLOW_IDLE_MS);
    expect(flows()).toEqual(["patient"]);
    controller.settled(request.requestId, 0, { nowMs: NOW_MS + 5 * FLOW_IDLE_MS });
    controller.advance(NOW_MS + 7 * FLOW_IDLE_MS);
    expect(flows()).toEqual([]);
  });

  it("FallbackRewritesItemPriority: differs, an unknown priority keeps its place below", () => {
    const controller = createController();
    const [stray, usual] = [queued({ priority: -7 }), queued()];
    controller.enqueue(stray, NOW_MS);
    controller.enqueue(usual, NOW_MS);
    expect(drain(controller)).toEqual([usual.requestId, stray.requestId]);
  });
});

/** Times to live, in ms, and whether requests may be ended for others; or what is wrong. */
function newConfig(flowControl: object) {
  const parsed = schedulerConfigSchema.safeParse({
    featureGates: ["flowControl"],
    plugins: [{ type: "queue-scorer" }],
    schedulingProfiles: [{ name: "default", plugins: [{ pluginRef: "queue-scorer" }] }],
    flowControl,
  });
  if (!parsed.success) return parsed.error.issues.map(({ message }) => message).join("; ");
  const settings = flowControlSettingsOf(parsed.data, new Plugins(parsed.data));
  const { withEndpointsMs, withoutEndpointsMs } = settings.defaultBand.ttls;
  return [withEndpointsMs, withoutEndpointsMs, settings.eviction !== undefined];
}

describe("TestNewConfigFromAPI", () => {
  it.for([
    { name: "NilConfig_ShouldReturnSystemDefaults", given: {}, want: [60_000, 60_000, false] },
    {
      name: "ValidConfig_ShouldTranslateFields",
      given: { defaultRequestTTL: "5m" },
      want: [300_000, 300_000, false],
    },
    {
      name: "DefaultRequestTTLAlone_ShouldGovernBothRegimes",
      given: { defaultRequestTTL: "10s" },
      want: [10_000, 10_000, false],
    },
    {
      name: "NoEndpointRequestTTL_ShouldOverrideInheritance",
      given: { defaultRequestTTL: "10s", noEndpointRequestTTL: "5m" },
      want: [10_000, 300_000, false],
    },
    {
      name: "ExplicitZeroRequestTTL_ShouldBeRespected",
      given: { defaultRequestTTL: "0s" },
      want: [Infinity, Infinity, false],
    },
    {
      name: "ExplicitZeroNoEndpointRequestTTL_ShouldNotInherit",
      given: { defaultRequestTTL: "10s", noEndpointRequestTTL: "0s" },
      want: [10_000, Infinity, false],
    },
    {
      name: "EnableEviction_ShouldTranslate_WithInternalDefaults",
      given: { enableEviction: true },
      want: [60_000, 60_000, true],
    },
  ])("$name", ({ given, want }) => {
    expect(newConfig(given)).toEqual(want);
  });

  it("InvalidConfig_NegativeRequestTTL_ShouldError", () => {
    expect(newConfig({ defaultRequestTTL: "-1m" })).toContain("must be non-negative");
  });
});
