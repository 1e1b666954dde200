import { describe, expect, it } from "vitest";
import { Leases } from "../../../../src/agents/simulator/model/leases.ts";

describe("leases", () => {
  it("end in the order of their last renewal", () => {
    const leases = new Leases<string>(100);
    leases.hold("a", 0);
    leases.hold("b", 10);
    expect(leases.renew("a", 20)).toBe(true);
    expect(leases.nextEndAtMs()).toBe(110);
    expect([...leases.expire(119)]).toEqual(["b"]);
    expect([...leases.expire(120)]).toEqual(["a"]);
    expect(leases.count).toBe(0);
    expect(leases.nextEndAtMs()).toBe(Infinity);
  });

  it("are not renewed once they are over, nor ended twice", () => {
    const leases = new Leases<string>(100);
    leases.hold("a", 0);
    expect(leases.end("a")).toBe(true);
    expect(leases.end("a")).toBe(false);
    expect(leases.renew("a", 50)).toBe(false);
  });
});
