import { describe, expect, it } from "vitest";
import {
  keepsJurisdictions,
  poolAddress,
  poolNameOf,
  poolObject,
  shardIndexOf,
} from "../../src/config/pool-address.ts";

/** As Cloudflare's: the object's id depends on the jurisdiction. */
const cloudflare = {
  getByName: (name: string, options?: object) => ({ id: name, options }),
  jurisdiction: (jurisdiction: string) => ({
    ...cloudflare,
    getByName: (name: string, options?: object) => ({ id: `${jurisdiction}/${name}`, options }),
  }),
};

/** One that refuses every jurisdiction, in these words. */
function refusing(message: string) {
  let calls = 0;
  const namespace = {
    getByName: (name: string) => ({ id: name }),
    jurisdiction(): never {
      calls++;
      throw new Error(message);
    },
  };
  return { namespace, calls: () => calls };
}

describe("a pool's address", () => {
  it("is its name where it has no jurisdiction, as it always was", () => {
    expect(poolAddress({ name: "eu-1" })).toBe("eu-1");
    expect(poolNameOf(poolAddress({ name: "eu-1" }))).toBe("eu-1");
  });

  it("says which shard it is of, but for the first, which has the pool's own", () => {
    expect(poolAddress({ name: "eu-1" }, 0)).toBe("eu-1");
    const address = poolAddress({ name: "eu-1", jurisdiction: "eu" }, 11);
    expect(address).toBe("eu-1~11@eu");
    expect([poolNameOf(address), shardIndexOf(address)]).toEqual(["eu-1", 11]);
    expect(shardIndexOf(poolAddress({ name: "eu-1", jurisdiction: "eu" }))).toBe(0);
  });

  it("says the jurisdiction, and nothing else of the configuration", () => {
    const pool = { name: "eu-1", jurisdiction: "eu" as const, agentToken: "secret" };
    expect(poolAddress(pool)).toBe("eu-1@eu");
    expect(poolNameOf(poolAddress(pool))).toBe("eu-1");
  });
});

describe("poolObject", () => {
  it("reaches another object in each jurisdiction", () => {
    const options = { locationHint: "weur" };
    const at = (address: string) => poolObject(cloudflare, address, options);
    expect(at("eu-1")).toEqual({ id: "eu-1", options });
    expect(at("eu-1@eu")).toEqual({ id: "eu/eu-1", options });
    expect(at("eu-1@fedramp-high")).toEqual({ id: "fedramp-high/eu-1", options });
  });

  it("goes on without, where workerd by itself keeps none, and finds that out once", () => {
    const { namespace, calls } = refusing(
      "Jurisdiction restrictions are not implemented in workerd.",
    );
    for (let i = 0; i < 3; i++) expect(poolObject(namespace, "eu-1@eu")).toEqual({ id: "eu-1" });
    expect(keepsJurisdictions(namespace)).toBe(false);
    expect(calls()).toBe(1);
  });

  it("never leaves a jurisdiction for another reason", () => {
    const { namespace } = refusing("Invalid jurisdiction.");
    expect(() => poolObject(namespace, "eu-1@eu")).toThrow("Invalid jurisdiction.");
    expect(() => poolObject(namespace, "eu-1@eu")).toThrow("Invalid jurisdiction.");
  });
});
