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
