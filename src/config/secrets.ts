// What happens to the secrets of a configuration on its way in and out: keys are hashed, kept
// secrets are filled in from the stored configuration, and what is shown holds none.

import {
  type ConfigIssue,
  type Deployment,
  KEPT_SECRET,
  type PoolConfig,
  type RelayConfig,
  type TenantConfig,
  type UpstreamConfig,
} from "./deployment.ts";

/** SHA-256 of a text's UTF-8 bytes, lower-case hex. The caller's platform provides it. */
export type Sha256Hex = (text: string) => Promise<string>;

export type ResolvedSecrets =
  | { readonly ok: true; readonly value: Deployment }
  | { readonly ok: false; readonly issues: readonly ConfigIssue[] };

/**
 * Fills each KEPT_SECRET of `next` in from `stored`: a relay key's from the key of the same id at
 * the same relay URL of the same pool, a webhook's token from the same URL of the same pool, those of an
 * upstream from the upstream of the same name and URL of the same pool, a tenant's salt from the tenant of
 * the same id. A kept secret that is not stored is a mistake; all of them are
 * reported.
 */
export function resolveKeptSecrets(next: Deployment, stored: Deployment | null): ResolvedSecrets {
  const issues: ConfigIssue[] = [];
  const pools = next.pools.map((pool, p) => {
    const before = stored?.pools.find((other) => other.name === pool.name);
    const relays = pool.relays.map((relay, r) => keepRelayKeys(relay, before, { p, r, issues }));
    const upstreams = pool.upstreams.map((upstream, u) =>
      keepUpstreamSecrets(upstream, before, { p, u, issues }),
    );
    return { ...pool, relays, upstreams, ...keepWebhookToken(pool, before, { p, issues }) };
  });
  const tenants = next.tenants.map((tenant, t) => {
    if (tenant.salt !== KEPT_SECRET) return tenant;
    const salt = stored?.tenants.find((other) => other.id === tenant.id)?.salt;
    if (salt !== undefined) return { ...tenant, salt };
    issues.push({
      path: `tenants[${t}].salt`,
      message: `nothing is stored to keep: tenant ${tenant.id} has no salt yet`,
    });
    return tenant;
  });
  if (issues.length > 0) return { ok: false, issues };
  return { ok: true, value: { ...next, pools, tenants } };
}

function keepRelayKeys(
  relay: RelayConfig,
  before: PoolConfig | undefined,
  at: { readonly p: number; readonly r: number; readonly issues: ConfigIssue[] },
): RelayConfig {
  const stored = before?.relays.find((other) => other.url === relay.url);
  const keys = relay.keys.map((key, k) => {
    if (key.secret !== KEPT_SECRET) return key;
    const secret = stored?.keys.find((other) => other.id === key.id)?.secret;
    if (secret !== undefined) return { ...key, secret };
    at.issues.push({
      path: `pools[${at.p}].relays[${at.r}].keys[${k}].secret`,
      message: `nothing is stored to keep: this relay has no key ${key.id} yet`,
    });
    return key;
  });
  return { ...relay, keys };
}

/** A secret is kept for the URL it goes to and the binding that fetches it, not for the name alone. */
function keepUpstreamSecrets(
  upstream: UpstreamConfig,
  pool: PoolConfig | undefined,
  at: { readonly p: number; readonly u: number; readonly issues: ConfigIssue[] },
): UpstreamConfig {
  const stored = pool?.upstreams.find((other) => other.name === upstream.name);
  const { url, binding, metrics } = upstream;
  let kept = upstream;
  const missing = (secret: string) =>
    at.issues.push({
      path: `pools[${at.p}].upstreams[${at.u}].${secret}`,
      message: `nothing is stored to keep: ${upstream.name} has no such secret for this URL yet`,
    });
  // Metrics are read through the binding as well.
  const isSameWay = stored?.binding === binding;
  if (upstream.apiKey === KEPT_SECRET) {
    const apiKey = isSameWay && stored?.url === url ? stored.apiKey : undefined;
    if (apiKey === undefined) missing("apiKey");
    else kept = { ...kept, apiKey };
  }
  if (metrics?.token === KEPT_SECRET) {
    const before = stored?.metrics;
    const token = isSameWay && before?.url === metrics.url ? before.token : undefined;
    if (token === undefined) missing("metrics.token");
    else kept = { ...kept, metrics: { ...metrics, token } };
  }
  return kept;
}

/** The pool's webhook, where it has one: its token would go to whatever the URL names. */
function keepWebhookToken(
  { name, capacityWebhook }: PoolConfig,
  before: PoolConfig | undefined,
  at: { readonly p: number; readonly issues: ConfigIssue[] },
): Pick<PoolConfig, "capacityWebhook"> {
  if (capacityWebhook?.token !== KEPT_SECRET) return {};
  const stored = before?.capacityWebhook;
  if (stored?.token !== undefined && stored.url === capacityWebhook.url) {
    return { capacityWebhook: stored };
  }
  at.issues.push({
    path: `pools[${at.p}].capacityWebhook.token`,
    message: `nothing is stored to keep: pool ${name} has no token for this URL yet`,
  });
  return {};
}

/** Replaces every key a caller presents (tenants' API keys, agents' tokens) by its hash. */
export async function hashKeys(deployment: Deployment, sha256: Sha256Hex): Promise<Deployment> {
  const hash = async (key: string) =>
    key.startsWith("sha256:") ? key : `sha256:${await sha256(key)}`;
  const hashTenant = async (tenant: TenantConfig) => ({
    ...tenant,
    keys: await Promise.all(tenant.keys.map(hash)),
  });
  const hashPool = async (pool: PoolConfig) => ({
    ...pool,
    agentToken: await hash(pool.agentToken),
  });
  return {
    ...deployment,
    pools: await Promise.all(deployment.pools.map(hashPool)),
    tenants: await Promise.all(deployment.tenants.map(hashTenant)),
  };
}

/** The configuration as it may be shown: KEPT_SECRET for every secret, hashes for every key. */
export function redactDeployment(deployment: Deployment): Deployment {
  return {
    ...deployment,
    pools: deployment.pools.map((pool) => ({
      ...pool,
      relays: pool.relays.map((relay) => ({
        ...relay,
        keys: relay.keys.map((key) => ({ ...key, secret: KEPT_SECRET })),
      })),
      upstreams: pool.upstreams.map(redactUpstream),
      ...(pool.capacityWebhook?.token === undefined
        ? {}
        : { capacityWebhook: { ...pool.capacityWebhook, token: KEPT_SECRET } }),
    })),
    tenants: deployment.tenants.map((tenant) =>
      tenant.salt === undefined ? tenant : { ...tenant, salt: KEPT_SECRET },
    ),
  };
}

function redactUpstream(upstream: UpstreamConfig): UpstreamConfig {
  const { apiKey, metrics } = upstream;
  return {
    ...upstream,
    ...(apiKey === undefined ? {} : { apiKey: KEPT_SECRET }),
    ...(metrics?.token === undefined ? {} : { metrics: { ...metrics, token: KEPT_SECRET } }),
  };
}
