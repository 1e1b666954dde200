import { describe, expect, it } from "vitest";
import {
  DEFAULT_FLOW,
  type FlowTenant,
  resolveObjective,
} from "../../../src/scheduler/flow-control/objectives.ts";

const OBJECTIVES = new Map([
  ["urgent", { priority: 100, ttftSloMs: 500 }],
  ["batch", { priority: -10 }],
]);
const TENANT: FlowTenant = { id: "acme", priorityCeiling: 10 };

function resolve(headers: Record<string, string>, tenant: Partial<FlowTenant> = {}) {
  return resolveObjective((name) => headers[name], OBJECTIVES, { ...TENANT, ...tenant });
}

describe("resolveObjective", () => {
  it.for([
    { name: "no header as 0", headers: {}, want: 0 },
    {
      name: "a name that nobody knows as 0",
      headers: { "x-llm-d-inference-objective": "x" },
      want: 0,
    },
    { name: "a low objective", headers: { "x-llm-d-inference-objective": "batch" }, want: -10 },
    {
      name: "the other family's header",
      headers: { "x-gateway-inference-objective": "batch" },
      want: -10,
    },
    {
      name: "the first family where both are there",
      headers: {
        "x-llm-d-inference-objective": "batch",
        "x-gateway-inference-objective": "urgent",
      },
      want: -10,
    },
    {
      name: "no more than the ceiling",
      headers: { "x-llm-d-inference-objective": "urgent" },
      want: 10,
    },
  ])("takes $name", ({ headers, want }) => {
    expect(resolve(headers as Record<string, string>).priority).toBe(want);
  });

  it("applies a ceiling below 0 also to who asks for nothing", () => {
    expect(resolve({}, { priorityCeiling: -1 }).priority).toBe(-1);
  });

  it("takes the tenant's own objective where the request names none", () => {
    const objective = { priority: 5, ttftSloMs: 900 };
    expect(resolve({}, { objective })).toMatchObject({ priority: 5, ttftSloMs: 900 });
    const named = resolve({ "x-llm-d-inference-objective": "batch" }, { objective });
    expect(named).toEqual({ priority: -10, fairnessId: "acme" });
  });

  it("lets no client choose its flow, only a trusted hop", () => {
    const headers = { "x-llm-d-inference-fairness-id": "someone" };
    expect(resolve(headers).fairnessId).toBe("acme");
    expect(resolve(headers, { isTrustedHop: true }).fairnessId).toBe("someone");
    const legacy = { "x-gateway-inference-fairness-id": "legacy" };
    expect(resolve(legacy, { isTrustedHop: true }).fairnessId).toBe("legacy");
    expect(resolve({}, { isTrustedHop: true }).fairnessId).toBe(DEFAULT_FLOW);
    const long = { "x-llm-d-inference-fairness-id": "x".repeat(257) };
    expect(resolve(long, { isTrustedHop: true }).fairnessId).toBe(DEFAULT_FLOW);
  });

  it.for([
    { written: "1500ms", want: 1_500 },
    { written: " 2s ", want: 2_000 },
    { written: "0s", want: undefined },
    { written: "-5s", want: undefined },
    { written: "soon", want: undefined },
  ])("reads a time to live of $written as $want", ({ written, want }) => {
    expect(resolve({ "x-llm-d-inference-ttl": written }).ttlMs).toBe(want);
  });
});
