import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  FAIRNESS_ID_CHARS_MAX,
  FAIRNESS_ID_HEADERS,
  type FlowTenant,
  OBJECTIVE_HEADERS,
  resolveObjective,
} from "../../../src/scheduler/flow-control/objectives.ts";

const OBJECTIVES = new Map([
  ["urgent", { priority: 100, ttftSloMs: 500 }],
  ["batch", { priority: -10 }],
  ["usual", { priority: 5, ttftSloMs: 900 }],
]);
const TENANT: FlowTenant = { id: "acme", priority: 10, trustedHop: false };

function resolve(headers: Record<string, string>, tenant: Partial<FlowTenant> = {}) {
  return resolveObjective((name) => headers[name], OBJECTIVES, { ...TENANT, ...tenant });
}

describe("resolveObjective", () => {
  it.for([
    { name: "no header as the ceiling", headers: {}, want: 10 },
    {
      name: "a name that nobody knows as the ceiling",
      headers: { "x-llm-d-inference-objective": "x" },
      want: 10,
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
    expect(resolve({}, { priority: -1 }).priority).toBe(-1);
  });

  it("takes the tenant's own objective where the request names none", () => {
    const objective = "usual";
    expect(resolve({}, { objective })).toMatchObject({ priority: 5, ttftSloMs: 900 });
    const unknown = { "x-llm-d-inference-objective": "x" };
    expect(resolve(unknown, { objective })).toMatchObject({ priority: 5 });
    const named = resolve({ "x-llm-d-inference-objective": "batch" }, { objective });
    expect(named).toEqual({ priority: -10, fairnessId: "acme" });
    expect(resolve({}, { objective: "of-another-pool" }).priority).toBe(10);
  });

  it("lets no client choose its flow, only a trusted hop", () => {
    const headers = { "x-llm-d-inference-fairness-id": "someone" };
    expect(resolve(headers).fairnessId).toBe("acme");
    expect(resolve(headers, { trustedHop: true }).fairnessId).toBe("someone");
    const legacy = { "x-gateway-inference-fairness-id": "legacy" };
    expect(resolve(legacy, { trustedHop: true }).fairnessId).toBe("legacy");
    expect(resolve({}, { trustedHop: true }).fairnessId).toBe("acme");
  });

  it("takes a flow's name up to its bound, and none that is longer", () => {
    const named = (chars: number) =>
      resolve({ "x-llm-d-inference-fairness-id": "x".repeat(chars) }, { trustedHop: true });
    expect(named(FAIRNESS_ID_CHARS_MAX).fairnessId).toHaveLength(FAIRNESS_ID_CHARS_MAX);
    expect(named(FAIRNESS_ID_CHARS_MAX + 1).fairnessId).toBe("acme");
  });

  it("lets nobody above its ceiling, or into another's flow, whatever it sends", () => {
    const names = [...OBJECTIVE_HEADERS, ...FAIRNESS_ID_HEADERS, "x-llm-d-inference-ttl"];
    const value = fc.oneof(fc.constantFrom(...OBJECTIVES.keys(), "other"), fc.string());
    const sent = fc.dictionary(fc.constantFrom(...names), value);
    const priority = fc.integer({ min: -100, max: 100 });
    const objective = fc.option(fc.constantFrom(...OBJECTIVES.keys(), "gone"), { nil: undefined });
    fc.assert(
      fc.property(sent, priority, objective, (headers, ceiling, own) => {
        const tenant = { priority: ceiling, objective: own };
        const claim = resolve(headers, tenant);
        expect(claim.priority).toBeLessThanOrEqual(ceiling);
        expect(claim.fairnessId).toBe("acme");
      }),
    );
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
