// The deployment's configuration: what `fairlead.yaml` holds, what /admin/v1/config takes and the
// DirectoryObject stores. One schema; every mistake is reported at once, with its path.

import { z } from "zod";
import { wholeNumber } from "../scheduler/config/whole-number.ts";
import { modelRewritesSchema } from "../scheduler/rewrite/config.ts";
import { SHARDS_MAX } from "../scheduler/shards/contracts.ts";
import { findContradictions } from "./cross-checks.ts";
import { prefixKeysSchema } from "./prefix-keys.ts";
import { routingSchema } from "./routing.ts";
import { schedulerDocumentSchema, schedulingIssues, type WrittenScheduling } from "./scheduling.ts";
import { UPSTREAM_LIMITS, upstreamSchema } from "./upstreams.ts";
import { findUrlCredentials } from "./url-credentials.ts";

export const DEPLOYMENT_LIMITS = {
  poolsMax: 256,
  modelsPerPoolMax: 256,
  relaysPerPoolMax: 16,
  keysPerRelayMax: 2,
  objectivesPerPoolMax: 64,
  tenantsMax: 5_000,
  keysPerTenantMax: 16,
  /**
   * Bodies of requests that wait in queues, of one isolate and over all pools: it has 128 MB for all that
   * it does, and those that wait stay long.
   */
  waitingBodyBytesMax: 24 * 1024 * 1024,
  /** The configuration as JSON; it is read by every isolate. */
  configBytesMax: 1024 * 1024,
} as const;

/** What collectors read of a pool's cluster besides its endpoints. */
const CLUSTER_RESOURCE_KINDS = ["objectives", "rewrites"] as const;
export type ClusterResourceKind = (typeof CLUSTER_RESOURCE_KINDS)[number];
/**
 * Objectives rank a tenant's requests below its ceiling. Rewrites give names to models: with them whoever
 * has the pool's agent token could draw requests for other pools' models.
 */
export const CLUSTER_RESOURCES_DEFAULT: readonly ClusterResourceKind[] = ["objectives"];

/** What a GET shows in place of a secret. In a PUT it means: keep the one that is stored. */
export const KEPT_SECRET = "<kept>";

const identifier = z
  .string()
  .regex(
    /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/,
    "expected lower-case letters, digits and hyphens, 1 to 63 characters",
  );
const label = z.string().min(1).max(256);
const webUrl = z.url({
  protocol: /^https?$/,
  error: "expected a URL that begins with http:// or https://",
});
/** As llm-d's: a Go int32. What is above every tenant's ceiling is cut to it. */
const OBJECTIVE_PRIORITY = { min: -(2 ** 31), max: 2 ** 31 - 1 } as const;
/** As Kubernetes names objects, so that llm-d's can be taken over. */
const objectiveName = z
  .string()
  .regex(
    /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/,
    "expected lower-case letters, digits, dots and hyphens, 1 to 253 characters",
  );
// KEPT_SECRET is shorter than a secret may be.
const secret = z
  .string()
  .max(512)
  .refine(
    (value) => value === KEPT_SECRET || value.length >= 16,
    `expected a secret of at least 16 characters, or ${KEPT_SECRET}`,
  );
/** A key as it was given out, or its SHA-256 as `sha256:<64 hex digits>`; only the latter is stored. */
const hashableKey = z
  .string()
  .max(512)
  .refine(
    (key) => (key.startsWith("sha256:") ? /^sha256:[0-9a-f]{64}$/.test(key) : key.length >= 16),
    "expected at least 16 characters, or sha256: and 64 hex digits in lower case",
  );

const relaySchema = z.strictObject({
  url: webUrl.describe("Base URL the Worker can fetch, e.g. https://relay.eu.example.com"),
  keys: z
    .array(z.strictObject({ id: identifier, secret }))
    .min(1)
    .max(DEPLOYMENT_LIMITS.keysPerRelayMax)
    .describe("HMAC keys shared with the relay. The first one signs; both are valid, for rotation"),
});

/** One of a pool's objectives. */
export const objectiveSchema = z.strictObject({
  name: objectiveName,
  priority: wholeNumber(OBJECTIVE_PRIORITY.min, OBJECTIVE_PRIORITY.max)
    .default(0)
    .describe("Higher first; no request exceeds its tenant's ceiling"),
  ttftSloMs: wholeNumber(1, 86_400_000)
    .optional()
    .describe("The time to the first token, of requests that name none themselves"),
});

const capacityWebhookSchema = z.strictObject({
  url: webUrl.describe("Is sent a POST when requests wait and the pool has no endpoints"),
  token: secret.optional().describe("Bearer token of that POST"),
});

const poolFields = z.strictObject({
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
  relays: z
    .array(relaySchema)
    .max(DEPLOYMENT_LIMITS.relaysPerPoolMax)
    .default([])
    .describe("Where the cluster's relays are; a pool has relays or `upstreams`"),
  upstreams: z
    .array(upstreamSchema(secret, webUrl))
    .max(UPSTREAM_LIMITS.upstreamsPerPoolMax)
    .default([])
    .describe("What answers where no relay does: gateways, APIs, another Fairlead"),
  jurisdiction: z
    .enum(["eu", "us", "fedramp", "fedramp-high"])
    .optional()
    .describe("Where the pool's object must stay; named by tenants' `jurisdictions`"),
  failoverTier: wholeNumber(0, 9)
    .default(0)
    .describe("Pools of a higher one are used where no lower one can be"),
  variants: z
    .record(label, label)
    .optional()
    .describe("What a model really is here, such as fp8: one request stays within one variant"),
  price: z
    .strictObject({
      inputUsdPerMTokens: z.number().min(0).max(1e6).default(0),
      outputUsdPerMTokens: z.number().min(0).max(1e6).default(0),
    })
    .optional()
    .describe("What it costs, weighed by `routing.msPerUsd`"),
  extraMs: wholeNumber(0, 600_000)
    .default(0)
    .describe("Added to its cost in the choice among pools, such as for egress"),
  rttMs: wholeNumber(0, 10_000).default(50).describe("From the edge, until it is measured"),
  modelRewrites: modelRewritesSchema
    .optional()
    .describe("Names clients may use besides `models`, and the models they stand for"),
  objectives: z
    .array(objectiveSchema)
    .max(DEPLOYMENT_LIMITS.objectivesPerPoolMax)
    .optional()
    .describe("InferenceObjectives that requests and tenants may name"),
  clusterResources: z
    .array(z.enum(CLUSTER_RESOURCE_KINDS))
    .default([...CLUSTER_RESOURCES_DEFAULT])
    .describe("What the pool's cluster may add to its objectives and modelRewrites"),
  capacityWebhook: capacityWebhookSchema.optional().describe("Who starts endpoints"),
  scrapeIntervalMs: wholeNumber(50, 60_000).default(200),
  shards: wholeNumber(1, SHARDS_MAX)
    .default(1)
    .describe(
      "Objects that share the pool's requests; one does for some hundred decisions a second",
    ),
  decide: z
    .enum(["auto", "local", "consult"])
    .default("auto")
    .describe(
      "Where endpoints are picked: in the pool's object, at the edge, or wherever it costs less",
    ),
  prefixKeys: prefixKeysSchema
    .optional()
    .describe("What prefixes are known by: the prompt's content, also where absent, or its tokens"),
  scheduler: schedulerDocumentSchema
    .prefault({})
    .describe("An EndpointPickerConfig, as it was written"),
  shadow: schedulerDocumentSchema
    .optional()
    .describe("An EndpointPickerConfig that looks at every decision and takes none"),
  allowExperimentalPlugins: z
    .boolean()
    .default(false)
    .describe("Whether `scheduler` and `shadow` may use plugins of stability Alpha"),
});
const poolSchema = poolFields.superRefine(
  (pool, context) => {
    if (typeof pool !== "object" || pool === null) return;
    for (const { path, message } of schedulingIssues(pool as WrittenScheduling))
      context.addIssue({ code: "custom", path: ["scheduler", ...path], message });
    for (const message of answererIssues(pool))
      context.addIssue({ code: "custom", path: ["relays"], message });
    for (const message of shardIssues(pool))
      context.addIssue({ code: "custom", path: ["shards"], message });
    const { shadow, allowExperimentalPlugins } = pool;
    if (shadow === undefined) return;
    for (const { path, message } of schedulingIssues({
      scheduler: shadow,
      allowExperimentalPlugins,
    }))
      context.addIssue({ code: "custom", path: ["shadow", ...path], message });
  },
  // Also where the pool's form is wrong.
  { when: () => true },
);

/** Whatever is malformed here has been said elsewhere. */
function answererIssues({
  relays,
  upstreams,
}: {
  relays?: unknown;
  upstreams?: unknown;
}): string[] {
  const has = (list: unknown) => (Array.isArray(list) ? list.length > 0 : list !== undefined);
  if (has(relays) && has(upstreams)) return ["a pool has relays or upstreams, not both"];
  return has(relays) || has(upstreams) ? [] : ["expected at least one relay, or upstreams instead"];
}

/** Shards part what agents tell by prompts, and an upstream's load is read by one object alone. */
function shardIssues({ shards, upstreams }: { shards?: unknown; upstreams?: unknown }): string[] {
  const hasUpstreams = Array.isArray(upstreams) && upstreams.length > 0;
  if (!hasUpstreams || typeof shards !== "number" || shards <= 1) return [];
  return ["a pool of upstreams has one object: no relay tells several of them what is under way"];
}

const tenantSchema = z.strictObject({
  id: identifier,
  keys: z.array(hashableKey).min(1).max(DEPLOYMENT_LIMITS.keysPerTenantMax),
  priority: wholeNumber(-100, 100)
    .default(0)
    .describe("Priority ceiling: no request of the tenant exceeds it, and who names none has it"),
  objective: objectiveName
    .optional()
    .describe("The pool's InferenceObjective for requests that name none"),
  trustedHop: z
    .boolean()
    .default(false)
    .describe("A gateway that speaks for others: its fairness ids are believed"),
  weight: z.number().positive().max(1_000).default(1),
  salt: secret.optional().describe("Enters the tenant's content keys and cache_salt"),
  isolated: z
    .boolean()
    .default(false)
    .describe("Never share cached prefixes with other tenants; needs a salt"),
  regions: z.array(label).min(1).default(["*"]),
  jurisdictions: z
    .array(z.enum(["*", "eu", "us", "fedramp", "fedramp-high"]))
    .min(1)
    .default(["*"])
    .describe("Of pools' objects; * are all, and those without one"),
  variantFallback: z
    .boolean()
    .default(false)
    .describe("Whether another variant of a model may answer where the first cannot"),
  models: z.array(label).min(1).default(["*"]),
});

export const deploymentSchema = z
  .strictObject({
    version: z.literal(1),
    pools: z.array(poolSchema).max(DEPLOYMENT_LIMITS.poolsMax),
    tenants: z.array(tenantSchema).max(DEPLOYMENT_LIMITS.tenantsMax),
    routing: routingSchema(schedulerDocumentSchema).prefault({}),
    limits: z
      .strictObject({
        bodyBytesMax: wholeNumber(1024, 64 * 1024 * 1024).default(16 * 1024 * 1024),
      })
      .prefault({}),
  })
  .superRefine(
    (document, context) => {
      for (const contradiction of findContradictions(document))
        context.addIssue({ code: "custom", ...contradiction });
    },
    // Also where the form is wrong, so that every mistake is reported at once.
    { when: () => true },
  );

export type Deployment = z.output<typeof deploymentSchema>;
export type PoolConfig = Deployment["pools"][number];
export type TenantConfig = Deployment["tenants"][number];
export type ObjectiveConfig = z.output<typeof objectiveSchema>;
export type RelayConfig = PoolConfig["relays"][number];
export type UpstreamConfig = PoolConfig["upstreams"][number];

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
  const issues = [...(result.error?.issues ?? []), ...findUrlCredentials(input)];
  if (result.success && issues.length === 0) return { ok: true, value: result.data };
  return {
    ok: false,
    issues: issues.map(({ path, message }) => ({ path: formatPath(path), message })),
  };
}

/** e.g. `pools[0].relays[1].url`. */
export function formatPath(path: readonly PropertyKey[]): string {
  return path.reduce<string>((written, key) => {
    if (typeof key === "number") return `${written}[${key}]`;
    return written === "" ? String(key) : `${written}.${String(key)}`;
  }, "");
}
