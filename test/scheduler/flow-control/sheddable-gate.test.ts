import { describe, expect, it } from "vitest";
import type { SaturationDetector } from "../../../src/scheduler/flow-control/contracts.ts";
import { SheddableGate } from "../../../src/scheduler/flow-control/sheddable-gate.ts";
import { EndpointTable } from "../../../src/scheduler/model/endpoint-table.ts";
import { NOW_MS } from "../support/flow-control.ts";
import { createPlugin } from "../support/plugins.ts";

const gate = new SheddableGate(
  createPlugin("concurrency-detector", { maxConcurrency: 1 }) as SaturationDetector,
);

/** Endpoints by name; those named busy are full. */
function poolOf(...names: string[]) {
  const table = new EndpointTable();
  for (const name of names) {
    const endpoint = { id: `default/${name}`, address: `${name}:8000`, engine: "vllm" };
    const slot = table.add({ ...endpoint, labels: {} })!;
    if (name.startsWith("busy")) table.dispatched(slot, 10, NOW_MS);
  }
  const view = { endpoints: table.columns, pool: table, nowMs: NOW_MS, staleAfterMs: 1_000 };
  return { table, view };
}

describe("TestLegacyAdmissionController_Admit", () => {
  const admitted = { ok: true };
  const refused = {
    ok: false,
    reason: "rejected-saturated",
    detail: "system saturated, sheddable request dropped",
  };
  it.for([
    { name: "non_sheddable_saturated_admit", priority: 0, endpoints: ["busy"], want: admitted },
    { name: "sheddable_not_saturated_admit", priority: -1, endpoints: ["idle"], want: admitted },
    { name: "sheddable_saturated_reject", priority: -1, endpoints: ["busy"], want: refused },
    { name: "sheddable_no_pods_reject", priority: -1, endpoints: [], want: refused },
  ])("$name", ({ priority, endpoints, want }) => {
    expect(gate.refusal({ priority }, poolOf(...endpoints).view) ?? admitted).toEqual(want);
  });
});

describe("SheddableGate", () => {
  it("looks at the endpoints that the request may go to", () => {
    const { view } = poolOf("busy", "idle");
    const refused = (subset: string[]) =>
      gate.refusal({ priority: -5, subset }, view) !== undefined;
    expect([refused(["busy:8000"]), refused(["idle:8000"]), refused([])]).toEqual([
      true,
      false,
      true,
    ]);
  });

  it("leaves out who cannot be reached, as long as others can", () => {
    const { table, view } = poolOf("busy", "idle");
    expect(gate.refusal({ priority: -1 }, view)).toBeUndefined();
    table.eject(1, NOW_MS + 1);
    expect(gate.refusal({ priority: -1 }, view)).toBeDefined();
    table.eject(0, NOW_MS + 1);
    expect(gate.refusal({ priority: -1 }, view)).toBeUndefined();
  });

  it("takes a saturation that is no number for a full pool", () => {
    const broken = new SheddableGate({ saturation: () => NaN, lagMs: () => 0 });
    expect(broken.refusal({ priority: -1 }, poolOf("idle").view)).toBeDefined();
  });
});
