import { describe, expect, it } from "vitest";
import type { QueueState } from "../../src/durable/state.ts";
import { FLOWS_NAMED_MAX, type QueueEnd, QueueMetrics } from "../../src/durable/queue-metrics.ts";
import { FLOW_IDLE_MS } from "../../src/scheduler/flow-control/bands.ts";
import {
  type BandSnapshot,
  FLOWS_TOLD_MAX,
  type FlowSnapshot,
} from "../../src/scheduler/flow-control/snapshot.ts";
import { DROP_REASONS } from "../../src/scheduler/outcome.ts";
import { MetricRegistry } from "../../src/telemetry/metrics.ts";

/** A queue's metrics, whose clock stands where it is put. */
function createMetrics() {
  const registry = new MetricRegistry();
  const now = { ms: 1_000_000 };
  const metrics = new QueueMetrics({ registry, clock: () => now.ms, pool: () => "eu-1" });
  const lines = () => registry.render().split("\n");
  return {
    now,
    metrics,
    ended: (end: Partial<QueueEnd>) =>
      metrics.queueEnded({
        priority: 0,
        fairnessId: "acme",
        reason: "dispatched",
        waitMs: 30,
        ...end,
      }),
    lines,
    /** The value of the one line that begins so. */
    value: (series: string) =>
      lines()
        .find((line) => line.startsWith(`${series} `))
        ?.slice(series.length + 1),
    countsOf: (fairnessId: string) =>
      lines().filter((line) =>
        line.startsWith(
          `llm_d_epp_flow_control_request_queue_duration_seconds_count{fairness_id="${fairnessId}"`,
        ),
      ),
  };
}

function flow(fairnessId: string, change: Partial<FlowSnapshot> = {}): FlowSnapshot {
  return {
    fairnessId,
    weight: 1,
    waiting: 3,
    waitingBytes: 3_000,
    inFlight: 1,
    dispatched: 9,
    meanWaitMs: 20,
    tokensLately: 500,
    ...change,
  };
}

function band(change: Partial<BandSnapshot> = {}): BandSnapshot {
  return {
    priority: 0,
    ceiling: 0.9,
    waiting: { requests: 5, bytes: 5_000, tokens: 900 },
    limits: { requests: 50, bytes: 20_000 },
    oldestWaitMs: 1_500,
    enqueued: 20,
    dispatched: 12,
    waitSumMs: 300,
    waitMaxMs: 80,
    dropped: {},
    drainPerSecond: 4.5,
    jainIndex: 0.97,
    flowCount: 2,
    flows: [flow("acme"), flow("beta", { waiting: 2, waitingBytes: 2_000 })],
    ...change,
  };
}

function state(change: Partial<QueueState> = {}): QueueState {
  return {
    saturation: 1.25,
    hasEndpoints: true,
    waiting: { requests: 5, bytes: 5_000, tokens: 900 },
    limits: { requests: 100 },
    inFlight: 8,
    revocations: { issued: 8, ended: 4, spared: 2, untold: 1 },
    bands: [band()],
    openWaits: 4,
    places: 1,
    staleEndpoints: 2,
    detector: "mine",
    stages: { prefill: 1.25, decode: 0.75 },
    ...change,
  };
}

describe("ends of waits", () => {
  it("are counted by outcome, in llm-d's words", () => {
    const { ended, value } = createMetrics();
    ended({});
    ended({ reason: "rejected-no-endpoints", waitMs: 0 });
    ended({ reason: "rejected-no-endpoints", waitMs: 5_000 });
    ended({ reason: "evicted-queue-pressure", priority: -1 });
    const total = (outcome: string, priority: number) =>
      value(
        `llm_d_epp_flow_control_requests_total{outcome="${outcome}",priority="${priority}",inference_pool="eu-1"}`,
      );
    expect(total("Dispatched", 0)).toBe("1");
    expect(total("RejectedNoEndpoints", 0)).toBe("1");
    expect(total("EvictedNoEndpoints", 0)).toBe("1");
    expect(total("EvictedQueuePressure", -1)).toBe("1");
  });

  it("count one that was ended in flight as revoked, and not again as an end", () => {
    const { ended, lines, value } = createMetrics();
    for (const reason of DROP_REASONS) ended({ reason });
    expect(
      value('llm_d_epp_flow_control_revocations_issued_total{priority="0",inference_pool="eu-1"}'),
    ).toBe("1");
    const ends = lines().filter((line) => line.startsWith("llm_d_epp_flow_control_requests_total"));
    expect(ends).toHaveLength(DROP_REASONS.length - 1);
  });

  it("are a histogram of waits in seconds", () => {
    const { ended, value } = createMetrics();
    ended({ waitMs: 30 });
    ended({ waitMs: 470 });
    const labels = 'fairness_id="acme",priority="0",outcome="Dispatched",inference_pool="eu-1"';
    const name = "llm_d_epp_flow_control_request_queue_duration_seconds";
    expect(value(`${name}_bucket{${labels},le="0.05"}`)).toBe("1");
    expect(value(`${name}_bucket{${labels},le="0.5"}`)).toBe("2");
    expect(value(`${name}_sum{${labels}}`)).toBe("0.5");
  });

  it("name at most so many flows of a band, the others together", () => {
    const { ended, countsOf } = createMetrics();
    for (let i = 0; i < FLOWS_TOLD_MAX + 7; i++) ended({ fairnessId: `f${i}` });
    ended({ fairnessId: "f0" });
    ended({ fairnessId: "elsewhere", priority: 1 });
    expect(countsOf("f0")[0]).toMatch(/ 2$/);
    expect(countsOf(`f${FLOWS_TOLD_MAX}`)).toEqual([]);
    expect(countsOf("other")[0]).toMatch(/ 7$/);
    expect(countsOf("elsewhere")).toHaveLength(1);
  });

  it("name at most so many flows of all bands", () => {
    const { ended, countsOf } = createMetrics();
    for (let i = 0; i < FLOWS_NAMED_MAX + 3; i++) ended({ fairnessId: `f${i}`, priority: i });
    expect(countsOf(`f${FLOWS_NAMED_MAX - 1}`)).toHaveLength(1);
    expect(countsOf("other")).toHaveLength(3);
  });

  it("forget a flow that has been idle for long, and name another in its place", () => {
    const { ended, countsOf, now, metrics } = createMetrics();
    for (let i = 0; i < FLOWS_TOLD_MAX; i++) ended({ fairnessId: `f${i}` });
    now.ms += FLOW_IDLE_MS - 1;
    ended({ fairnessId: "f0" });
    now.ms += 1;
    ended({ fairnessId: "late" });
    expect(countsOf("late")).toHaveLength(1);
    metrics.show(null);
    expect(countsOf("f0")).toHaveLength(1);
    expect(countsOf("f1")).toEqual([]);
  });

  it("never forget the others, whatever a client calls itself", () => {
    const { ended, countsOf, now, metrics } = createMetrics();
    ended({ fairnessId: "other" });
    now.ms += FLOW_IDLE_MS;
    metrics.show(null);
    expect(countsOf("other")).toHaveLength(1);
  });
});

describe("gauges of a queue", () => {
  it.for([
    ['llm_d_epp_flow_control_pool_saturation{inference_pool="eu-1",stage="effective"}', "1.25"],
    ['llm_d_epp_flow_control_pool_saturation{inference_pool="eu-1",stage="decode"}', "0.75"],
    ['llm_d_epp_flow_control_stale_endpoints{detector="mine",inference_pool="eu-1"}', "2"],
    ['llm_d_epp_flow_control_revocations_total{outcome="confirmed",inference_pool="eu-1"}', "4"],
    ['llm_d_epp_flow_control_revocations_total{outcome="spared",inference_pool="eu-1"}', "2"],
    ['llm_d_epp_flow_control_revocations_total{outcome="timed_out",inference_pool="eu-1"}', "1"],
    [
      'llm_d_epp_flow_control_queue_size{fairness_id="beta",priority="0",inference_pool="eu-1"}',
      "2",
    ],
    [
      'llm_d_epp_flow_control_queue_bytes{fairness_id="acme",priority="0",inference_pool="eu-1"}',
      "3000",
    ],
    [
      'llm_d_epp_flow_control_capacity_utilization_requests{priority="0",inference_pool="eu-1"}',
      "0.1",
    ],
    [
      'llm_d_epp_flow_control_capacity_utilization_bytes{priority="0",inference_pool="eu-1"}',
      "0.25",
    ],
    ['llm_d_epp_flow_control_global_capacity_utilization_requests{inference_pool="eu-1"}', "0.05"],
    ['fairlead_flow_control_ceiling{priority="0",inference_pool="eu-1"}', "0.9"],
    ['fairlead_flow_control_oldest_wait_seconds{priority="0",inference_pool="eu-1"}', "1.5"],
    ['fairlead_flow_control_drain_rate{priority="0",inference_pool="eu-1"}', "4.5"],
    ['fairlead_flow_control_jain_index{priority="0",inference_pool="eu-1"}', "0.97"],
    ['fairlead_flow_control_flows{priority="0",inference_pool="eu-1"}', "2"],
    ['fairlead_flow_control_open_waits{inference_pool="eu-1"}', "4"],
    ['fairlead_flow_control_places{inference_pool="eu-1"}', "1"],
    ['fairlead_flow_control_inflight_requests{inference_pool="eu-1"}', "8"],
  ] as const)("%s", ([series, expected]) => {
    const { metrics, value } = createMetrics();
    metrics.show(state());
    expect(value(series)).toBe(expected);
  });

  it("count who asks again", () => {
    const { metrics, value } = createMetrics();
    metrics.queueAskedAgain();
    metrics.queueAskedAgain();
    expect(value('fairlead_flow_control_asked_again_total{inference_pool="eu-1"}')).toBe("2");
  });

  it("leave out what has no limit, no ceiling and no rate", () => {
    const { metrics, lines } = createMetrics();
    metrics.show(
      state({ limits: {}, bands: [band({ limits: {}, ceiling: null, drainPerSecond: null })] }),
    );
    expect(lines().join("\n")).not.toMatch(/capacity_utilization|ceiling|drain_rate/);
  });

  it("go with the flow, the band and flow control itself", () => {
    const { metrics, lines } = createMetrics();
    metrics.show(state({ bands: [band(), band({ priority: 7 })] }));
    metrics.show(state({ bands: [band({ flows: [flow("beta")] })] }));
    expect(lines().join("\n")).not.toMatch(/acme|priority="7"/);
    metrics.show(null);
    expect(lines().filter((line) => line.startsWith("fairlead_"))).toEqual([]);
  });

  it("add a flow that is called other to the others", () => {
    const { metrics, value } = createMetrics();
    metrics.show(state({ bands: [band({ flows: [flow("other"), flow("other")] })] }));
    const series = 'fairness_id="other",priority="0",inference_pool="eu-1"';
    expect(value(`llm_d_epp_flow_control_queue_size{${series}}`)).toBe("6");
  });
});
