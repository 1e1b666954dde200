import { describe, expect, it } from "vitest";
import { type Deployment, deploymentSchema, KEPT_SECRET } from "../../src/config/deployment.ts";
import { hashKeys, redactDeployment, resolveKeptSecrets } from "../../src/config/secrets.ts";

const RELAY_SECRET = "relay-secret-0123456789";
const SALT = "salt-salt-salt-salt-1";
const TOKEN = "token-0123456789-token";

function deployment(secret: string, salt: string | undefined, token = TOKEN): Deployment {
  return deploymentSchema.parse({
    version: 1,
    pools: [
      {
        name: "eu",
        region: "eu",
        models: ["m"],
        agentToken: "agent-token-0123456789",
        relays: [{ url: "http://relay:1", keys: [{ id: "k1", secret }] }],
        capacityWebhook: { url: "https://scaler.example.com", token },
      },
    ],
    tenants: [{ id: "acme", keys: ["tenant-key-0123456789"], ...(salt && { salt }) }],
  });
}
const stored = deployment(RELAY_SECRET, SALT);

describe("kept secrets", () => {
  it("are filled in from what is stored", () => {
    expect(resolveKeptSecrets(deployment(KEPT_SECRET, KEPT_SECRET, KEPT_SECRET), stored)).toEqual({
      ok: true,
      value: stored,
    });
  });

  it("are mistakes where nothing is stored, all reported with their paths", () => {
    const result = resolveKeptSecrets(deployment(KEPT_SECRET, KEPT_SECRET, KEPT_SECRET), null);
    expect(result).toMatchObject({
      ok: false,
      issues: [
        { path: "pools[0].relays[0].keys[0].secret", message: expect.stringContaining("k1") },
        { path: "pools[0].capacityWebhook.token", message: expect.stringContaining("eu") },
        { path: "tenants[0].salt", message: expect.stringContaining("acme") },
      ],
    });
  });

  it("are not taken from another relay", () => {
    const [pool] = stored.pools;
    const moved = {
      ...stored,
      pools: [{ ...pool!, relays: [{ ...pool!.relays[0]!, url: "http://other:1" }] }],
    };
    expect(resolveKeptSecrets(deployment(KEPT_SECRET, SALT), moved).ok).toBe(false);
  });

  it("are not sent to another webhook", () => {
    const next = deployment(RELAY_SECRET, SALT, KEPT_SECRET);
    const capacityWebhook = { url: "https://other.example.com", token: KEPT_SECRET };
    const moved = { ...next, pools: [{ ...next.pools[0]!, capacityWebhook }] };
    expect(resolveKeptSecrets(moved, stored)).toMatchObject({
      ok: false,
      issues: [{ path: "pools[0].capacityWebhook.token" }],
    });
  });

  it("survive a redacted configuration that is put back", () => {
    expect(resolveKeptSecrets(redactDeployment(stored), stored)).toEqual({
      ok: true,
      value: stored,
    });
  });
});

const API_KEY = "upstream-key-0123456789";
const METRICS_TOKEN = "metrics-token-0123456789";
const UPSTREAM = {
  name: "gke",
  kind: "gateway",
  url: "https://gke.example.com",
  apiKey: API_KEY,
  metrics: { url: "https://gke.example.com/metrics", token: METRICS_TOKEN },
};

function withUpstream(fields: object = {}): Deployment {
  return deploymentSchema.parse({
    ...stored,
    pools: [{ ...stored.pools[0], relays: [], upstreams: [{ ...UPSTREAM, ...fields }] }],
  });
}

describe("secrets of upstreams", () => {
  const kept = {
    apiKey: KEPT_SECRET,
    metrics: { ...UPSTREAM.metrics, token: KEPT_SECRET },
  };
  const before = withUpstream();

  it("are not shown, and are kept where what was shown is put back", () => {
    const shown = redactDeployment(before);
    expect(JSON.stringify(shown)).not.toContain(API_KEY);
    expect(JSON.stringify(shown)).not.toContain(METRICS_TOKEN);
    expect(shown.pools[0]!.upstreams[0]).toMatchObject(kept);
    expect(resolveKeptSecrets(shown, before)).toEqual({ ok: true, value: before });
  });

  it("do not appear where there are none", () => {
    const { apiKey: _, ...rest } = UPSTREAM;
    const open = deploymentSchema.parse({
      ...stored,
      pools: [{ ...stored.pools[0], relays: [], upstreams: [{ ...rest, metrics: undefined }] }],
    });
    expect(redactDeployment(open).pools[0]!.upstreams).toEqual(open.pools[0]!.upstreams);
  });

  it.each([
    ["another URL", { url: "https://other.example.com" }],
    ["another binding", { binding: "OTHER" }],
    ["another name", { name: "other" }],
  ])("do not go to %s", (_, fields) => {
    expect(resolveKeptSecrets(withUpstream({ ...kept, ...fields }), before)).toMatchObject({
      ok: false,
      issues: expect.arrayContaining([
        { path: "pools[0].upstreams[0].apiKey", message: expect.any(String) },
      ]),
    });
  });

  it.each(["OTHER", undefined])("are read with through binding %s no more", (binding) => {
    const bound = withUpstream({ binding: "CLUSTER" });
    expect(resolveKeptSecrets(withUpstream({ ...kept, binding }), bound)).toMatchObject({
      ok: false,
      issues: [
        { path: "pools[0].upstreams[0].apiKey" },
        { path: "pools[0].upstreams[0].metrics.token" },
      ],
    });
  });

  it("do not go to another metrics URL", () => {
    const metrics = { url: "https://other.example.com/metrics", token: KEPT_SECRET };
    expect(resolveKeptSecrets(withUpstream({ metrics }), before)).toEqual({
      ok: false,
      issues: [{ path: "pools[0].upstreams[0].metrics.token", message: expect.any(String) }],
    });
  });
});

describe("redaction", () => {
  it("shows no secret", () => {
    const shown = JSON.stringify(redactDeployment(stored));
    expect(shown).not.toContain(RELAY_SECRET);
    expect(shown).not.toContain(SALT);
    expect(shown).not.toContain(TOKEN);
    expect(shown).toContain(KEPT_SECRET);
  });
});

describe("hashing", () => {
  it("replaces keys once and leaves hashes alone", async () => {
    const sha256 = async (text: string) => `h(${text})`;
    const hashed = await hashKeys(stored, sha256);
    expect(hashed.tenants[0]!.keys).toEqual(["sha256:h(tenant-key-0123456789)"]);
    expect(hashed.pools[0]!.agentToken).toBe("sha256:h(agent-token-0123456789)");
    expect(await hashKeys(hashed, sha256)).toEqual(hashed);
  });
});
