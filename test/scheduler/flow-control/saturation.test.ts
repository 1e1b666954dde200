import { describe, expect, it } from "vitest";
import type {
  SaturationDetector,
  SaturationView,
} from "../../../src/scheduler/flow-control/contracts.ts";
import { SaturationMeter } from "../../../src/scheduler/flow-control/saturation.ts";
import { EndpointTable } from "../../../src/scheduler/model/endpoint-table.ts";
import { NOW_MS } from "../support/flow-control.ts";
import { createPlugin } from "../support/plugins.ts";

const STALE_AFTER_MS = 1_000;
const detector = createPlugin("concurrency-detector", { maxConcurrency: 4 }) as SaturationDetector;

function viewOf(table: EndpointTable) {
  return { endpoints: table.columns, pool: table, nowMs: NOW_MS, staleAfterMs: STALE_AFTER_MS };
}

function add(table: EndpointTable, name: string, role?: string): number {
  const labels: Record<string, string> = role === undefined ? {} : { "llm-d.ai/role": role };
  return table.add({ id: `default/${name}`, address: `${name}:8000`, engine: "vllm", labels })!;
}

/** A pool of endpoints with these roles, each with as many requests in flight as its place says. */
function measure(roles: readonly (string | undefined)[]) {
  const table = new EndpointTable();
  for (const [i, role] of roles.entries()) {
    const slot = add(table, `e${i}`, role);
    for (let sent = 0; sent <= i; sent++) table.dispatched(slot, 10, NOW_MS);
  }
  return new SaturationMeter(detector).measure(viewOf(table));
}

describe("SaturationMeter", () => {
  it.for([
    { name: "no endpoints as full", roles: [], want: 1 },
    { name: "those without a role together", roles: [undefined, undefined], want: 3 / 8 },
    { name: "the fuller stage", roles: ["prefill", "decode"], want: 2 / 4 },
    { name: "the fuller stage, when it is prefill", roles: ["decode", "prefill"], want: 2 / 4 },
    { name: "who does both in both", roles: ["prefill", "decode", "both"], want: 5 / 8 },
    { name: "encoders not, beside others", roles: [undefined, "encode"], want: 1 / 4 },
    { name: "whoever is there, where nobody does a stage", roles: ["encode", "x"], want: 3 / 8 },
  ])("sees $name", ({ roles, want }) => {
    expect(measure(roles).saturation).toBeCloseTo(want, 12);
  });

  it.for([
    { roles: ["prefill", "decode", "both"], want: { prefill: 4 / 8, decode: 5 / 8 } },
    { roles: [undefined, "encode"], want: { prefill: undefined, decode: 1 / 4 } },
    { roles: ["prefill"], want: { prefill: 1 / 4, decode: undefined } },
    { roles: ["encode"], want: { prefill: undefined, decode: undefined } },
    { roles: [], want: { prefill: undefined, decode: undefined } },
  ])("tells each stage of $roles apart", ({ roles, want }) => {
    expect(measure(roles)).toMatchObject(want);
  });

  it("follows an endpoint whose label has changed", () => {
    const table = new EndpointTable();
    const meter = new SaturationMeter(detector);
    const [busy] = [add(table, "busy", "decode"), add(table, "idle", "prefill")];
    table.dispatched(busy, 10, NOW_MS);
    expect(meter.measure(viewOf(table)).saturation).toBe(1 / 4);
    add(table, "idle", "both");
    expect(meter.measure(viewOf(table)).saturation).toBe(1 / 8);
  });

  it("leaves out who cannot be reached, as long as others can", () => {
    const table = new EndpointTable();
    const [busy, idle] = [add(table, "busy"), add(table, "idle")];
    for (let sent = 0; sent < 4; sent++) table.dispatched(busy, 10, NOW_MS);
    const meter = new SaturationMeter(detector);
    expect(meter.measure(viewOf(table)).saturation).toBe(0.5);
    table.eject(idle, NOW_MS + 1);
    expect(meter.measure(viewOf(table))).toMatchObject({ saturation: 1, endpointCount: 1 });
    table.eject(busy, NOW_MS + 1);
    expect(meter.measure(viewOf(table))).toMatchObject({ saturation: 0.5, endpointCount: 2 });
    table.eject(idle, NOW_MS);
    expect(meter.measure(viewOf(table))).toMatchObject({ saturation: 0, endpointCount: 1 });
  });

  it.for([
    { name: "none for no endpoints", roles: [], want: 0 },
    { name: "what is left of all", roles: [undefined, undefined], want: 8 - 3 },
    { name: "what is left of the fuller stage", roles: ["prefill", "decode"], want: 4 - 2 },
    {
      name: "none where a stage is over full",
      roles: ["x", "x", "x", "x", "x", "prefill"],
      want: 0,
    },
  ])("has room for $name", ({ roles, want }) => {
    const table = new EndpointTable();
    for (const [i, role] of roles.entries()) {
      const slot = add(table, `e${i}`, role);
      for (let sent = 0; sent <= i; sent++) table.dispatched(slot, 10, NOW_MS);
    }
    const meter = new SaturationMeter(detector);
    expect(meter.room(viewOf(table))).toBeCloseTo(want, 9);
    // Where it is all used, the pool is full.
    const slots = [...table.slots()];
    const used = roles.some((role) => role === "prefill") ? slots.at(-1)! : slots[0]!;
    for (let i = 0; i < want; i++) table.dispatched(used, 10, NOW_MS);
    expect(meter.measure(viewOf(table)).saturation).toBeGreaterThanOrEqual(1 - 1e-9);
  });

  it.for([
    { type: "concurrency-detector", params: { maxConcurrency: 7 }, want: 7 },
    {
      type: "concurrency-detector",
      params: { concurrencyMode: "tokens", maxTokenConcurrency: 500 },
      want: 5,
    },
    {
      type: "concurrency-detector",
      params: { concurrencyMode: "hybrid", maxConcurrency: 3, maxTokenConcurrency: 500 },
      want: 3,
    },
    { type: "utilization-detector", params: { queueDepthThreshold: 9 }, want: 9 },
  ])("knows how many requests fill an endpoint by $type $params", ({ type, params, want }) => {
    const table = new EndpointTable();
    table.dispatched(add(table, "e"), 100, NOW_MS);
    const detectorOf = createPlugin(type, params) as SaturationDetector;
    const candidates = Int32Array.of(0);
    const view = { ...viewOf(table), candidates, candidateCount: 1 };
    expect(detectorOf.requestsOfFull!(view)).toBeCloseTo(want);
  });

  it("counts each request that is let through at once", () => {
    const table = new EndpointTable();
    const slot = add(table, "a");
    table.applySample(slot, { waiting: 0, running: 0, kvUsage: 0 }, NOW_MS);
    const meter = new SaturationMeter(createPlugin("utilization-detector") as SaturationDetector);
    const seen = Array.from({ length: 6 }, () => {
      table.dispatched(slot, 10, NOW_MS);
      return meter.measure(viewOf(table)).saturation;
    });
    expect(seen).toEqual([0.2, 0.4, 0.6, 0.8, 1, 1.2]);
  });

  it("tells how many endpoints are stale, over all stages", () => {
    const table = new EndpointTable();
    for (const role of ["prefill", "decode", "decode"]) add(table, `${role}${table.size}`, role);
    table.applySample(2, { waiting: 0 }, NOW_MS);
    const meter = new SaturationMeter(createPlugin("utilization-detector") as SaturationDetector);
    expect(meter.staleCount(viewOf(table))).toBe(2);
  });

  it.for([
    { name: "nothing is known of any", roles: ["", "", ""], fresh: [], want: 0 },
    { name: "all are known", roles: ["", "", ""], fresh: [0, 1, 2], want: 3 / 5 },
    { name: "one is not", roles: ["", "", ""], fresh: [0, 2], want: 3 / 5 },
    { name: "the least is not", roles: ["", "", ""], fresh: [1, 2], want: 4.5 / 5 },
    {
      name: "a stage is not",
      roles: ["prefill", "decode", "decode"],
      fresh: [1, 2],
      want: 4.5 / 5,
    },
    {
      name: "part of a stage is not",
      roles: ["decode", "prefill", "prefill"],
      fresh: [0, 1],
      want: 3 / 5,
    },
  ])("sees how full what is known is, where $name", ({ roles, fresh, want }) => {
    const table = new EndpointTable();
    for (const [i, role] of roles.entries()) add(table, `e${i}`, role === "" ? undefined : role);
    for (const slot of fresh) table.applySample(slot, { waiting: 3 * slot, kvUsage: 0 }, NOW_MS);
    const meter = new SaturationMeter(createPlugin("utilization-detector") as SaturationDetector);
    expect(meter.freshSaturation(viewOf(table))).toBeCloseTo(want, 12);
  });

  it("takes what its detector knows without samples for known", () => {
    const table = new EndpointTable();
    for (let sent = 0; sent < 3; sent++) table.dispatched(add(table, "a"), 10, NOW_MS);
    expect(new SaturationMeter(detector).freshSaturation(viewOf(table))).toBe(3 / 4);
  });

  it("EndpointReregistrationSaturationAccuracy: an endpoint that comes back comes back empty", () => {
    const table = new EndpointTable();
    const meter = new SaturationMeter(detector);
    const slot = add(table, "a");
    for (let sent = 0; sent < 4; sent++) table.dispatched(slot, 10, NOW_MS);
    expect(meter.measure(viewOf(table)).saturation).toBe(1);
    table.remove(slot);
    expect(meter.measure(viewOf(table))).toMatchObject({ saturation: 1, endpointCount: 0 });
    add(table, "a");
    expect(meter.measure(viewOf(table)).saturation).toBe(0);
  });

  it("EndpointIdentityCollisionDuringPodReplacement: another endpoint in a slot inherits nothing", () => {
    const table = new EndpointTable();
    const meter = new SaturationMeter(detector);
    const slot = add(table, "old");
    table.dispatched(slot, 10, NOW_MS);
    table.remove(slot);
    expect(add(table, "new")).toBe(slot);
    expect(meter.measure(viewOf(table)).saturation).toBe(0);
    table.released(slot, 10, NOW_MS);
    expect(meter.measure(viewOf(table)).saturation).toBe(0);
  });

  it("asks the detector for candidates that are there", () => {
    const table = new EndpointTable();
    const slots = ["a", "b", "c"].map((name) => add(table, name));
    table.remove(slots[1]!);
    const seen: number[][] = [];
    const spy: SaturationDetector = {
      saturation({ candidates, candidateCount }: SaturationView) {
        seen.push([...candidates.subarray(0, candidateCount)]);
        return 0;
      },
      lagMs: () => 7,
    };
    const meter = new SaturationMeter(spy);
    expect(meter.measure(viewOf(table))).toMatchObject({ saturation: 0, endpointCount: 2 });
    expect(seen).toEqual([[0, 2]]);
    expect(meter.staleCount(viewOf(table))).toBe(0);
    expect(meter.lagMs(1)).toBe(7);
  });
});
