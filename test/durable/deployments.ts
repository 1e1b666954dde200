// Configurations for tests of the objects.

import { type Deployment, parseDeployment } from "../../src/config/deployment.ts";

export const RELAY_SECRET = "relay-secret-0123456789";
export const TENANT_KEY = "tenant-key-0123456789";
export const AGENT_TOKEN = "agent-token-0123456789";

interface Shape {
  readonly pools?: readonly string[];
  readonly relaySecret?: string;
  readonly scrapeIntervalMs?: number;
  /** Of every pool. */
  readonly jurisdiction?: string;
  /** Of every pool. */
  readonly shards?: number;
  readonly tenantKeys?: readonly string[];
}

/** A parsed deployment with a pool of each name and one tenant. */
export function createDeployment(shape: Shape = {}): Deployment {
  const parsed = parseDeployment({
    version: 1,
    pools: (shape.pools ?? ["eu-1"]).map((name) => ({
      name,
      region: "eu",
      models: ["m"],
      agentToken: AGENT_TOKEN,
      ...(shape.jurisdiction === undefined ? {} : { jurisdiction: shape.jurisdiction }),
      scrapeIntervalMs: shape.scrapeIntervalMs ?? 200,
      shards: shape.shards ?? 1,
      relays: [
        {
          url: `https://${name}.example.com`,
          keys: [{ id: "k1", secret: shape.relaySecret ?? RELAY_SECRET }],
        },
      ],
    })),
    tenants: [{ id: "acme", keys: shape.tenantKeys ?? [TENANT_KEY] }],
  });
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.issues));
  return parsed.value;
}
