// The deployment's configuration: what `fairlead.yaml` holds, what /admin/v1/config takes and the
// DirectoryObject stores. One schema; every mistake is reported at once, with its path.

import { z } from "zod";
import { schedulerConfigSchema } from "../scheduler/config.ts";

export const DEPLOYMENT_LIMITS = {
  poolsMax: 256,
  modelsPerPoolMax: 256,
  relaysPerPoolMax: 16,
  keysPerRelayMax: 2,
  tenantsMax: 5_000,
  keysPerTenantMax: 16,
  /** The configuration as JSON; it is read by every isolate. */
  configBytesMax: 1024 * 1024,
} as const;

/** What a GET shows in place of a secret. In a PUT it means: keep the one that is stored. */
export const KEPT_SECRET = "<kept>";

const identifier = z
  .string()
  .regex(
    /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/,
    "expected lower-case letters, digits and hyphens, 1 to 63 characters",
  );
const label = z.string().min(1).max(256);
const secret = z.union([
  z.literal(KEPT_SECRET),
  z.string().min(16, "a secret has at least 16 characters").max(512),
]);
/** A key as it was given out, or its SHA-256 as `sha256:<64 hex digits>`; only the latter is stored. */
const hashableKey = z.union([
  z.string().regex(/^sha256:[0-9a-f]{64}$/, "expected sha256: and 64 hex digits"),
  z
    .string()
    .min(16, "a key has at least 16 characters")
    .max(512)
    .refine((key) => !key.startsWith("sha256:"), "malformed sha256: form"),
]);

const relaySchema = z.strictObject({
  url: z
    .url({ protocol: /^https?$/ })
    .describe("Base URL the Worker can fetch, e.g. https://relay.eu.example.com"),
  keys: z
    .array(z.strictObject({ id: identifier, secret }))
    .min(1)
    .max(DEPLOYMENT_LIMITS.keysPerRelayMax)
    .describe("HMAC keys shared with the relay. The first one signs; both are valid, for rotation"),
});

const poolSchema = z.strictObject({
  name: identifier,
  region: label.describe("Named by tenants' `regions`"),
  models: z
    .array(label)
    .min(1)
    .max(DEPLOYMENT_LIMITS.modelsPerPoolMax)
    .describe("Model names the engines serve"),
  locationHint: z
    .enum(["wnam", "enam", "sam", "weur", "eeur", "apac", "apac-ne", "apac-se", "oc", "afr", "me"])
    .optional()
    .describe("Where Cloudflare creates the pool's object; only its first creation heeds it"),
  agentToken: hashableKey.describe("Token collector and relay authenticate with"),
  relays: z.array(relaySchema).min(1).max(DEPLOYMENT_LIMITS.relaysPerPoolMax),
  scrapeIntervalMs: z.int().min(50).max(60_000).default(200),
  scheduler: schedulerConfigSchema.prefault({}),
});

const tenantSchema = z.strictObject({
  id: identifier,
  keys: z.array(hashableKey).min(1).max(DEPLOYMENT_LIMITS.keysPerTenantMax),
  priority: z
    .int()
    .min(-100)
    .max(100)
    .default(0)
    .describe("Priority ceiling: no request of the tenant exceeds it"),
  weight: z.number().positive().max(1_000).default(1),
  salt: secret.optional().describe("Enters the tenant's content keys and cache_salt"),
  isolated: z
    .boolean()
    .default(false)
    .describe("Never share cached prefixes with other tenants; needs a salt"),
  regions: z.array(label).min(1).default(["*"]),
  models: z.array(label).min(1).default(["*"]),
});

function duplicates(values: readonly string[]): string[] {
  return [...new Set(values.filter((value, index) => values.indexOf(value) !== index))];
}

export const deploymentSchema = z
  .strictObject({
    version: z.literal(1),
    pools: z.array(poolSchema).max(DEPLOYMENT_LIMITS.poolsMax),
    tenants: z.array(tenantSchema).max(DEPLOYMENT_LIMITS.tenantsMax),
    limits: z
      .strictObject({
        bodyBytesMax: z
          .int()
          .min(1024)
          .max(64 * 1024 * 1024)
          .default(16 * 1024 * 1024),
      })
      .prefault({}),
  })
  .superRefine((config, context) => {
    const report = (path: (string | number)[], message: string) =>
      context.addIssue({ code: "custom", path, message });
    for (const name of duplicates(config.pools.map((pool) => pool.name))) {
      report(["pools"], `two pools are named ${name}`);
    }
    for (const id of duplicates(config.tenants.map((tenant) => tenant.id))) {
      report(["tenants"], `two tenants have the id ${id}`);
    }
    const regions = new Set(config.pools.map((pool) => pool.region));
    const models = new Set(config.pools.flatMap((pool) => pool.models));
    const keys = new Map<string, string>();
    config.tenants.forEach((tenant, t) => {
      if (tenant.isolated && tenant.salt === undefined)
        report(["tenants", t, "salt"], "an isolated tenant needs a salt");
      for (const region of tenant.regions) {
        if (region !== "*" && !regions.has(region))
          report(["tenants", t, "regions"], `no pool is in region ${region}`);
      }
      for (const model of tenant.models) {
        if (model !== "*" && !models.has(model))
          report(["tenants", t, "models"], `no pool serves ${model}`);
      }
      tenant.keys.forEach((key, k) => {
        const owner = keys.get(key);
        if (owner !== undefined)
          report(["tenants", t, "keys", k], `the key is also a key of tenant ${owner}`);
        keys.set(key, tenant.id);
      });
    });
    config.pools.forEach((pool, p) => {
      for (const model of duplicates(pool.models))
        report(["pools", p, "models"], `${model} is listed twice`);
    });
  });

export type Deployment = z.output<typeof deploymentSchema>;
export type PoolConfig = Deployment["pools"][number];
export type TenantConfig = Deployment["tenants"][number];
export type RelayConfig = PoolConfig["relays"][number];

/** One mistake in a configuration. */
export interface ConfigIssue {
  /** e.g. `pools[0].relays[1].url`; "" for the whole document. */
  readonly path: string;
  readonly message: string;
}

export type ParsedDeployment =
  | { readonly ok: true; readonly value: Deployment }
  | { readonly ok: false; readonly issues: readonly ConfigIssue[] };

/** Checks untrusted input. Messages never contain the offending value: it may be a secret. */
export function parseDeployment(input: unknown): ParsedDeployment {
  const result = deploymentSchema.safeParse(input);
  if (result.success) return { ok: true, value: result.data };
  return {
    ok: false,
    issues: result.error.issues.map((issue) => ({
      path: issue.path.reduce<string>(
        (path, key) =>
          typeof key === "number"
            ? `${path}[${key}]`
            : path === ""
              ? String(key)
              : `${path}.${String(key)}`,
        "",
      ),
      message: issue.message,
    })),
  };
}
