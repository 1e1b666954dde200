import { describe, expect, it } from "vitest";
import type { EndpointRecord } from "../../src/agents/protocol/messages.ts";
import { EJECTION_MS_MAX, Endpoints } from "../../src/durable/endpoints.ts";
import {
  compileMetricsSpecification,
  DEFAULT_SPECIFICATION,
  DEFAULT_TARGET,
} from "../../src/scheduler/data-layer/compile.ts";
import type { MetricsSpecification } from "../../src/scheduler/data-layer/specification.ts";

const ADDRESS = "e0:8000";
const ALL = { ...DEFAULT_SPECIFICATION, models: DEFAULT_TARGET };
const compiledAs = (part: Partial<MetricsSpecification>) => {
  return { specification: { ...ALL, ...part }, topology: null, problems: [] };
};
const compiled = compiledAs({});

function record(id: string): EndpointRecord {
  return { id, address: `${id}:8000`, engine: "vllm", labels: {} };
}

function createEndpoints() {
  let nowMs = 1_000;
  const restarted: number[] = [];
  const endpoints = new Endpoints({
    clock: () => nowMs,
    onRemoved: () => undefined,
    onRestarted: (slot) => restarted.push(slot),
  });
  const claim = (...ids: string[]) => {
    const claimed = ids.map(record);
    endpoints.membership.claim("a", claimed);
    endpoints.sync();
  };
  endpoints.configure(compiled);
  claim("e0", "e1");
  return {
    endpoints,
    claim,
    restarted,
    advance: (ms: number) => (nowMs += ms),
    ejectedMs: () => endpoints.describe(1_000).map((endpoint) => endpoint.ejectedMs),
  };
}

describe("ejection", () => {
  it("lasts for its lease and ends by itself", () => {
    const { endpoints, advance, ejectedMs } = createEndpoints();
    endpoints.eject(ADDRESS, 2_000);
    expect(ejectedMs()).toEqual([2_000, 0]);
    advance(1_999);
    expect(ejectedMs()).toEqual([1, 0]);
    advance(1);
    expect(ejectedMs()).toEqual([0, 0]);
  });

  it("is cut at the longest lease a relay may ask for", () => {
    const { endpoints, ejectedMs } = createEndpoints();
    endpoints.eject(ADDRESS, EJECTION_MS_MAX);
    expect(ejectedMs()).toEqual([EJECTION_MS_MAX, 0]);
    endpoints.eject(ADDRESS, EJECTION_MS_MAX + 1);
    endpoints.eject(ADDRESS, Infinity);
    expect(ejectedMs()).toEqual([EJECTION_MS_MAX, 0]);
  });

  it("is not shortened by another relay's shorter lease", () => {
    const { endpoints, ejectedMs } = createEndpoints();
    endpoints.eject(ADDRESS, 5_000);
    endpoints.eject(ADDRESS, 1_000);
    expect(ejectedMs()).toEqual([5_000, 0]);
  });

  it("ends at once when a relay has reached the endpoint", () => {
    const { endpoints, ejectedMs } = createEndpoints();
    endpoints.eject(ADDRESS, 5_000);
    endpoints.eject(ADDRESS, 0);
    expect(ejectedMs()).toEqual([0, 0]);
  });

  it("takes a lease that is no number as none", () => {
    const { endpoints, ejectedMs } = createEndpoints();
    endpoints.eject(ADDRESS, NaN);
    expect(ejectedMs()).toEqual([0, 0]);
  });

  it("of an address outside the pool is nothing", () => {
    const { endpoints, ejectedMs } = createEndpoints();
    endpoints.eject("elsewhere:1", 5_000);
    expect(ejectedMs()).toEqual([0, 0]);
  });

  it("does not pass to the next endpoint in the slot", () => {
    const { endpoints, claim, ejectedMs } = createEndpoints();
    endpoints.eject(ADDRESS, 5_000);
    claim("e1");
    claim("e1", "e2");
    expect(endpoints.table.slotOf("e2")).toBe(0);
    expect(ejectedMs()).toEqual([0, 0]);
  });
});

describe("what an endpoint serves", () => {
  const lora = { active: ["sql"], waiting: [], maxActive: 4 };

  it("is known by its address, until it leaves", () => {
    const { endpoints, claim } = createEndpoints();
    endpoints.served({ endpoint: record("e0"), lora, models: ["base"] });
    endpoints.served({ endpoint: record("elsewhere"), lora, models: ["base"] });
    expect(endpoints.describe(1_000)).toMatchObject([
      { lora: { active: 1, waiting: 0, max: 4 }, models: ["base"] },
      { lora: { active: 0, waiting: 0, max: 0 } },
    ]);
    claim("e1");
    claim("e1", "e2");
    expect(endpoints.table.slotOf("e2")).toBe(0);
    expect(endpoints.describe(1_000)[0]).toMatchObject({ id: "e2", lora: { active: 0, max: 0 } });
    expect(endpoints.describe(1_000)[0]).not.toHaveProperty("models");
  });

  it("is not forgotten by a report that leaves it out", () => {
    const { endpoints } = createEndpoints();
    endpoints.served({ endpoint: record("e0"), lora, models: undefined });
    endpoints.served({ endpoint: record("e0"), lora: undefined, models: ["base"] });
    expect(endpoints.describe(1_000)[0]).toMatchObject({ lora: { active: 1 }, models: ["base"] });
  });
});

describe("a scrape", () => {
  const scrape = (sample: object, sampledAtMs = 1) => ({
    outcome: "ok" as const,
    sampledAtMs,
    sample,
  });

  it("that shows a new process says so once", () => {
    const { endpoints, restarted } = createEndpoints();
    endpoints.scraped("e1:8000", scrape({ waiting: 0, processStartS: 100 }));
    expect(restarted).toEqual([]);
    endpoints.scraped("e1:8000", scrape({ waiting: 0, processStartS: 200 }, 2));
    endpoints.scraped("e1:8000", scrape({ waiting: 0, processStartS: 200 }, 3));
    expect(restarted).toEqual([1]);
  });

  it("brings the scalars that the specification names", () => {
    const { endpoints } = createEndpoints();
    const scalars = new Map([["gpu", 0.5]]);
    endpoints.scraped(ADDRESS, scrape({ waiting: 0, scalars }));
    expect(endpoints.table.columns.scalar("gpu")).toBeUndefined();
    endpoints.configure(compiledAs({ scalars: ["gpu"] }));
    endpoints.scraped(ADDRESS, scrape({ waiting: 0, scalars }, 2));
    expect(endpoints.table.columns.scalar("gpu")![0]).toBe(0.5);
  });
});

describe("what a new configuration does not read any more", () => {
  const lora = { active: ["sql"], waiting: [], maxActive: 4 };
  const told = () => {
    const { endpoints } = createEndpoints();
    const tell = () => {
      endpoints.served({ endpoint: record("e0"), lora, models: ["base"] });
      const sample = { waiting: 3, kvUsage: 0.5, scalars: new Map([["gpu", 0.5]]) };
      endpoints.scraped(ADDRESS, { outcome: "ok", sampledAtMs: 1, sample });
    };
    tell();
    return { endpoints, tell, state: () => endpoints.describe(1_000)[0]! };
  };
  const known = { sampleAgeMs: 999, queueDepth: 3, lora: { active: 1, max: 4 }, models: ["base"] };

  it("is not forgotten where it is still read", () => {
    const { endpoints, state } = told();
    endpoints.configure(compiledAs({ scalars: ["gpu"] }));
    expect(state()).toMatchObject(known);
  });

  it("is forgotten, and stays so whatever a collector tells that has not heard of it yet", () => {
    const { endpoints, tell, state } = told();
    endpoints.configure(compiledAs({ models: null }));
    tell();
    expect(state()).not.toHaveProperty("models");
    expect(state()).toMatchObject({ lora: { active: 1 } });
    const withoutLora = ALL.engines.map((engine) => ({ ...engine, lora: null }));
    endpoints.configure(compiledAs({ engines: withoutLora }));
    tell();
    expect(state()).toMatchObject({ queueDepth: 3, lora: { active: 0, max: 0 } });
    endpoints.configure(compiledAs({ metrics: null, scalars: ["gpu"] }));
    tell();
    const unknown = { sampleAgeMs: null, queueDepth: 0, kvUsage: 1, lora: { active: 0 } };
    expect(state()).toMatchObject(unknown);
    expect(endpoints.table.columns.scalar("gpu")![0]).toBe(0.5);
    endpoints.configure(compileMetricsSpecification([]));
    expect(state()).not.toHaveProperty("models");
  });
});

describe("labels that say where an endpoint is", () => {
  const rack = "topology.kubernetes.io/rack";
  const labelsOf = (endpoints: Endpoints) => endpoints.table.endpoint(0)!.labels;
  const labels = { "example.com/rack": "r1", [rack]: "elsewhere", zone: "a" };

  it("are the usual ones, or those that the configuration names", () => {
    const { endpoints } = createEndpoints();
    endpoints.membership.claim("b", [{ ...record("e0"), labels }]);
    endpoints.sync();
    expect(labelsOf(endpoints)).toEqual(labels);
    const names = { hostname: "h", rack: "example.com/rack", zone: "z", region: "r" };
    endpoints.configure({ ...compiled, topology: names });
    expect(labelsOf(endpoints)).toEqual({ ...labels, [rack]: "r1" });
    endpoints.configure({ ...compiled, topology: { ...names, rack: "absent" } });
    expect(labelsOf(endpoints)).toEqual({ "example.com/rack": "r1", zone: "a" });
    endpoints.configure(compiled);
    expect(labelsOf(endpoints)).toEqual(labels);
  });
});

it("an endpoint's engine is what its label says, also if the wire's list does not have it", () => {
  const { endpoints } = createEndpoints();
  const labels = { "llm-d.ai/engine-type": "triton" };
  endpoints.membership.claim("a", [{ ...record("t"), labels }]);
  endpoints.sync();
  expect(endpoints.describe(1_000)).toMatchObject([{ id: "t", engine: "triton" }]);
});
