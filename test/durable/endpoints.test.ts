import { describe, expect, it } from "vitest";
import { EJECTION_MS_MAX, Endpoints } from "../../src/durable/endpoints.ts";

const ADDRESS = "e0:8000";

function createEndpoints() {
  let nowMs = 1_000;
  const endpoints = new Endpoints({ clock: () => nowMs, onRemoved: () => undefined });
  const claim = (...ids: string[]) => {
    const claimed = ids.map((id) => ({
      id,
      address: `${id}:8000`,
      engine: "vllm" as const,
      labels: {},
    }));
    endpoints.membership.claim("a", claimed);
    endpoints.sync();
  };
  claim("e0", "e1");
  return {
    endpoints,
    claim,
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
