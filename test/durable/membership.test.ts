import { describe, expect, it } from "vitest";
import { PROTOCOL_LIMITS } from "../../src/agents/protocol/limits.ts";
import type { EndpointRecord } from "../../src/agents/protocol/messages.ts";
import { CLAIMS_MAX, Membership, MEMBERSHIP_LEASE_MS } from "../../src/durable/membership.ts";

function endpoint(id: string, address = `${id}:8000`): EndpointRecord {
  return { id, address, engine: "vllm", labels: {} };
}

function createMembership() {
  let nowMs = 0;
  const membership = new Membership(() => nowMs);
  return {
    membership,
    advance: (ms: number) => (nowMs += ms),
    ids: () => [...membership.endpoints().keys()].sort(),
  };
}

describe("membership", () => {
  it("is the union of what the collectors claim", () => {
    const { membership, ids } = createMembership();
    membership.claim("a", [endpoint("e1"), endpoint("e2")]);
    membership.claim("b", [endpoint("e2"), endpoint("e3")]);
    expect(ids()).toEqual(["e1", "e2", "e3"]);
    membership.claim("a", []);
    expect(ids()).toEqual(["e2", "e3"]);
  });

  it("believes the newer of two claims to one id or one address", () => {
    const { membership } = createMembership();
    membership.claim("a", [endpoint("e1", "old:1"), endpoint("e2", "shared:1")]);
    membership.claim("b", [endpoint("e1", "new:1"), endpoint("e3", "shared:1")]);
    expect([...membership.endpoints().values()].map((e) => [e.id, e.address])).toEqual([
      ["e1", "new:1"],
      ["e3", "shared:1"],
    ]);
    membership.claim("a", [endpoint("e1", "newest:1")]);
    expect(membership.endpoints().get("e1")?.address).toBe("newest:1");
  });

  it("believes a connected collector before one that is gone", () => {
    const { membership } = createMembership();
    membership.claim("a", [endpoint("e1", "live:1")]);
    membership.claim("b", [endpoint("e1", "gone:1")]);
    membership.disconnected("b");
    expect(membership.endpoints().get("e1")?.address).toBe("live:1");
  });

  it("keeps a gone collector's endpoints for one lease", () => {
    const { membership, advance, ids } = createMembership();
    membership.claim("a", [endpoint("e1")]);
    expect(membership.hasLeases).toBe(false);
    membership.disconnected("a");
    expect(membership.hasLeases).toBe(true);
    advance(MEMBERSHIP_LEASE_MS - 1);
    expect([membership.expire(), ids()]).toEqual([[], ["e1"]]);
    advance(1);
    expect([membership.expire(), ids()]).toEqual([["a"], []]);
  });

  it("keeps them for good when the collector is back in time", () => {
    const { membership, advance, ids } = createMembership();
    membership.restore("a", [endpoint("e1")]);
    advance(MEMBERSHIP_LEASE_MS - 1);
    membership.connected("a");
    advance(MEMBERSHIP_LEASE_MS);
    expect([membership.expire(), ids()]).toEqual([[], ["e1"]]);
  });

  it("refuses one collector too many, unless an earlier one is gone", () => {
    const { membership, ids } = createMembership();
    for (let i = 0; i < CLAIMS_MAX; i++) membership.claim(`a${i}`, [endpoint(`e${i}`)]);
    expect(membership.claim("late", [endpoint("late")])).toBe(false);
    membership.disconnected("a3");
    expect(membership.claim("late", [endpoint("late")])).toBe(true);
    expect(ids()).not.toContain("e3");
    expect(ids()).toContain("late");
  });

  it("holds no more endpoints than a pool may have", () => {
    const { membership, ids } = createMembership();
    const many = (prefix: string) =>
      Array.from({ length: PROTOCOL_LIMITS.endpointsMax }, (_, i) => endpoint(`${prefix}${i}`));
    membership.claim("a", many("x"));
    membership.claim("b", many("y").slice(0, 10));
    expect(ids()).toHaveLength(PROTOCOL_LIMITS.endpointsMax);
    expect(ids()).toContain("y9");
  });
});
