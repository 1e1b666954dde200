import { describe, expect, it } from "vitest";
import { parseDeployment, type Deployment } from "../../../src/config/deployment.ts";
import { defaultDeployment, localPools, usableKey } from "../../../src/cli/up/deployment.ts";

const KEYS = {
  key: "sk-fairlead-0123456789",
  adminKey: "admin-0123456789abcdef",
  agentToken: "agent-0123456789abcdef",
  relaySecret: "relay-0123456789abcdef",
};
const LOCAL = [{ name: "local", region: "local", relayPort: 9100 }];
const HASH = `sha256:${"0".repeat(64)}`;

function parse(document: unknown): Deployment {
  const parsed = parseDeployment(document);
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.issues));
  return parsed.value;
}

function pool(name: string, url: string, change: object = {}) {
  return {
    name,
    region: "eu",
    models: ["m"],
    agentToken: "token-0123456789abcdef",
    relays: [{ url, keys: [{ id: "k1", secret: "secret-0123456789abcdef" }] }],
    ...change,
  };
}

describe("defaultDeployment", () => {
  it("says where endpoints are picked and by how many objects, where it is told", () => {
    const inCommon = { kvKeys: "content", decide: "local", shards: 4 } as const;
    const deployment = parse(defaultDeployment(KEYS, ["m"], LOCAL, inCommon));
    expect(deployment.pools[0]).toMatchObject({ decide: "local", shards: 4 });
  });

  it("is a good configuration with one local pool and a usable key", () => {
    const deployment = parse(defaultDeployment(KEYS, ["m"], LOCAL, { kvKeys: "content" }));
    expect(usableKey(deployment)).toBe(KEYS.key);
    expect(localPools(deployment)).toEqual([
      {
        name: "local",
        models: ["m"],
        agentToken: KEYS.agentToken,
        relays: [{ listen: "127.0.0.1:9100", keys: [{ id: "k1", secret: KEYS.relaySecret }] }],
        kvKeys: "content",
      },
    ]);
    expect(JSON.stringify(deployment)).not.toContain(KEYS.adminKey);
  });

  it("has prompts rendered where prefixes are to be known by tokens", () => {
    const deployment = parse(defaultDeployment(KEYS, ["m"], LOCAL, { kvKeys: "tokens" }));
    expect(deployment.pools[0]!.prefixKeys).toMatchObject({ kind: "tokens", by: "render" });
    expect(localPools(deployment)[0]!.kvKeys).toBe("tokens");
  });
});

describe("localPools", () => {
  it("are those with a relay on a loopback host and port", () => {
    const deployment = parse({
      version: 1,
      pools: [
        pool("a", "http://127.0.0.1:9100"),
        pool("b", "http://localhost:9101/"),
        pool("c", "http://[::1]:9102"),
        pool("d", "https://127.0.0.1:9103"),
        pool("e", "http://10.0.0.1:9104"),
        pool("f", "http://127.0.0.1"),
      ],
      tenants: [],
    });
    expect(localPools(deployment).map(({ relays }) => relays[0]!.listen)).toEqual([
      "127.0.0.1:9100",
      "localhost:9101",
      "[::1]:9102",
    ]);
    expect(usableKey(deployment)).toBeUndefined();
  });

  it.for([
    { name: "a hashed token", change: { agentToken: HASH }, says: "pools[0].agentToken" },
    {
      name: "a kept secret",
      change: { relays: [{ url: "http://127.0.0.1:1", keys: [{ id: "k", secret: "<kept>" }] }] },
      says: "pools[0].relays[0].keys",
    },
    {
      name: "a secret with a comma",
      change: {
        relays: [{ url: "http://127.0.0.1:1", keys: [{ id: "k", secret: "a,0123456789abcdef" }] }],
      },
      says: "without commas",
    },
  ])("refuses $name, which its agents could not use", ({ change, says }) => {
    const pools = [pool("a", "http://127.0.0.1:9100", change)];
    expect(() => localPools(parse({ version: 1, pools, tenants: [] }))).toThrow(says);
  });

  it("does not mind hashes and kept secrets of pools that run elsewhere", () => {
    const pools = [pool("a", "https://relay.example.com", { agentToken: HASH })];
    expect(localPools(parse({ version: 1, pools, tenants: [] }))).toEqual([]);
  });
});
