import { describe, expect, it } from "vitest";
import { parseDeployment } from "../../src/config/deployment.ts";
import { findNotes } from "../../src/config/notes.ts";

const UPSTREAM = { name: "a", kind: "openai", url: "https://api.example.com" };
const KEY = "upstream-key-0123456789";

function parse(upstreams: readonly object[], pool: object = {}) {
  const agentToken = "agent-token-0123456789";
  const pools = [{ name: "p", region: "r", models: ["m"], agentToken, upstreams, ...pool }];
  return parseDeployment({ version: 1, pools, tenants: [] });
}

const issuesOf = (...asked: Parameters<typeof parse>) => {
  const parsed = parse(...asked);
  return parsed.ok ? [] : parsed.issues.map(({ path, message }) => `${path}: ${message}`);
};

describe("upstreams of a pool", () => {
  it("are of pools with one object", () => {
    expect(issuesOf([UPSTREAM], { shards: 1 })).toEqual([]);
    expect(issuesOf([UPSTREAM], { shards: 2 })).toEqual([
      expect.stringMatching(/^pools\[0\]\.shards: a pool of upstreams has one object/),
    ]);
  });

  it("stand in place of relays", () => {
    expect(issuesOf([UPSTREAM])).toEqual([]);
    const relays = [{ url: "https://r", keys: [{ id: "k", secret: "relay-secret-0123456789" }] }];
    expect(issuesOf([UPSTREAM], { relays })).toEqual([
      "pools[0].relays: a pool has relays or upstreams, not both",
    ]);
    expect(issuesOf([])).toEqual([
      "pools[0].relays: expected at least one relay, or upstreams instead",
    ]);
  });

  it.each([
    ["a name twice", [UPSTREAM, UPSTREAM], "pools[0].upstreams: two upstreams are named a"],
    ["a name of another form", [{ ...UPSTREAM, name: "A b" }], "upstreams[0].name"],
    ["another kind", [{ ...UPSTREAM, kind: "other" }], "upstreams[0].kind"],
    ["a short key", [{ ...UPSTREAM, apiKey: "short" }], "upstreams[0].apiKey"],
    ["no URL", [{ ...UPSTREAM, url: "ftp://x" }], "upstreams[0].url"],
    ["a binding of ours", [{ ...UPSTREAM, binding: "CONTROL" }], "Fairlead's own"],
    ["objects of ours", [{ ...UPSTREAM, binding: "POOLS_EU" }], "Fairlead's own"],
    ["a binding of another form", [{ ...UPSTREAM, binding: "vpc" }], "upstreams[0].binding"],
    [
      "a metric of another form",
      [{ ...UPSTREAM, metrics: { url: "https://x", queueSize: "queue{pool~=a}" } }],
      "metrics.queueSize",
    ],
    [
      "too many",
      Array.from({ length: 17 }, (_, i) => ({ ...UPSTREAM, name: `a${i}` })),
      "pools[0].upstreams",
    ],
  ])("are refused with %s", (_, upstreams, expected) => {
    expect(issuesOf(upstreams)).toEqual([expect.stringContaining(expected)]);
  });

  it("come with notes on what their writer may not have meant", () => {
    const parsed = parse([
      { ...UPSTREAM, apiKey: KEY, binding: "EU_VPC" },
      { ...UPSTREAM, name: "b", url: "https://api.example.com/v1/" },
      { ...UPSTREAM, name: "c", kind: "gateway" },
    ]);
    if (!parsed.ok) throw new Error("refused");
    const notes = findNotes(parsed.value).filter(({ path }) => path.includes("upstreams"));
    expect(notes).toEqual([
      { path: "pools[0].upstreams[0].binding", message: expect.stringContaining("EU_VPC") },
      { path: "pools[0].upstreams[1].url", message: expect.stringContaining("/v1") },
      { path: "pools[0].upstreams[1]", message: expect.stringContaining("apiKey") },
    ]);
    expect(JSON.stringify(notes)).not.toContain(KEY);
  });
});
