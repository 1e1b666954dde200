// What one part of a configuration demands of another: names that must differ, names that must
// exist. Checked on whatever can be read of a document, so that a mistake of form in one place
// hides no other mistake.

import { z } from "zod";

/** Longer texts are mistakes of form, and are not compared. */
const TEXT_CHARS_MAX = 512;

const text = z.string().max(TEXT_CHARS_MAX).optional().catch(undefined);
const texts = z.array(text).optional().catch(undefined);

const matchOutline = z.object({ model: z.object({ value: text }) });
const ruleOutline = z.object({ matches: z.array(matchOutline).optional() });
/** Stands for rewrites that cannot be read: they may match any name. */
const UNREADABLE = [{ rules: [{ matches: [{ model: { value: undefined } }] }] }];
const poolOutline = z.object({
  name: text,
  upstreams: z
    .array(z.object({ name: text }).catch({}))
    .default([])
    .catch([]),
  region: text,
  models: texts,
  /** Absent is none; what cannot be read may be any. */
  objectives: z
    .array(z.object({ name: text }).catch({}))
    .default([])
    .catch([{}]),
  modelRewrites: z
    .array(z.object({ rules: z.array(ruleOutline) }))
    .optional()
    .catch(UNREADABLE),
  clusterResources: texts,
});
const tenantOutline = z.object({
  id: text,
  keys: texts,
  isolated: z.unknown().optional(),
  salt: z.unknown().optional(),
  regions: texts,
  models: texts,
  objective: text,
});
/** undefined stands for what cannot be read. */
const outlineSchema = z
  .object({
    pools: z.array(poolOutline.catch({ objectives: [{}], upstreams: [] })).catch([]),
    tenants: z.array(tenantOutline.catch({})).catch([]),
  })
  .catch({ pools: [], tenants: [] });
type Outline = z.output<typeof outlineSchema>;
type PoolOutline = Outline["pools"][number];
type TenantOutline = Outline["tenants"][number];

export interface Contradiction {
  readonly path: (string | number)[];
  readonly message: string;
}

/** Every contradiction in a configuration, which may be malformed in any way. */
export function findContradictions(document: unknown): Contradiction[] {
  const { pools, tenants } = outlineSchema.parse(document);
  const found: Contradiction[] = [];
  for (const name of duplicates(pools.map((pool) => pool.name)))
    found.push({ path: ["pools"], message: `two pools are named ${name}` });
  for (const id of duplicates(tenants.map((tenant) => tenant.id)))
    found.push({ path: ["tenants"], message: `two tenants have the id ${id}` });
  found.push(...findUnknownNames({ pools, tenants }), ...findSharedKeys(tenants));
  tenants.forEach((tenant, t) => {
    if (tenant.isolated === true && tenant.salt === undefined)
      found.push({ path: ["tenants", t, "salt"], message: "an isolated tenant needs a salt" });
  });
  pools.forEach((pool, p) => {
    for (const model of duplicates(pool.models ?? []))
      found.push({ path: ["pools", p, "models"], message: `${model} is listed twice` });
    for (const name of duplicates(pool.objectives.map((objective) => objective.name)))
      found.push({ path: ["pools", p, "objectives"], message: `two objectives are named ${name}` });
    for (const name of duplicates(pool.upstreams.map((upstream) => upstream.name)))
      found.push({ path: ["pools", p, "upstreams"], message: `two upstreams are named ${name}` });
  });
  return found;
}

/** Regions, models and objectives of tenants that no pool has. */
function findUnknownNames({ pools, tenants }: Outline): Contradiction[] {
  const regions = knownNames(pools.map((pool) => pool.region));
  const models = knownNames(
    pools.flatMap((pool) => [...(pool.models ?? [undefined]), ...rewrittenNames(pool)]),
  );
  const objectives = knownNames(
    pools.flatMap((pool) => pool.objectives.map((objective) => objective.name)),
  );
  return tenants.flatMap((tenant, t) => [
    ...unknownNames(tenant.regions, regions).map((region) => ({
      path: ["tenants", t, "regions"],
      message: `no pool is in region ${region}`,
    })),
    ...unknownNames(tenant.models, models).map((model) => ({
      path: ["tenants", t, "models"],
      message: `no pool serves ${model}`,
    })),
    ...unknownNames([tenant.objective], objectives).map((objective) => ({
      path: ["tenants", t, "objective"],
      message: `no pool has an objective ${objective}`,
    })),
  ]);
}

/** Model names that the pool's rewrites match. */
function rewrittenNames({ modelRewrites, clusterResources }: PoolOutline): (string | undefined)[] {
  // Those of the cluster may match any.
  if (clusterResources?.includes("rewrites") === true) return [undefined];
  const rules = (modelRewrites ?? []).flatMap((rewrite) => rewrite.rules);
  return rules.flatMap((rule) => (rule.matches ?? []).map((match) => match.model.value));
}

/** undefined if one cannot be read: it may be the one a tenant means. */
function knownNames(names: readonly (string | undefined)[]): Set<string> | undefined {
  const read = names.filter((name) => name !== undefined);
  return read.length === names.length ? new Set(read) : undefined;
}

function unknownNames(
  names: readonly (string | undefined)[] | undefined,
  known: ReadonlySet<string> | undefined,
): string[] {
  if (names === undefined || known === undefined) return [];
  return names.filter((name) => name !== undefined && name !== "*" && !known.has(name)) as string[];
}

function findSharedKeys(tenants: readonly TenantOutline[]): Contradiction[] {
  const found: Contradiction[] = [];
  const owners = new Map<string, string>();
  tenants.forEach((tenant, t) => {
    tenant.keys?.forEach((key, k) => {
      if (key === undefined) return;
      const owner = owners.get(key);
      if (owner !== undefined) {
        const message = `the key is also a key of tenant ${owner}`;
        found.push({ path: ["tenants", t, "keys", k], message });
      }
      owners.set(key, tenant.id ?? `number ${t}`);
    });
  });
  return found;
}

/** Linear: the document may be malformed, and so be longer than any configuration. */
function duplicates(values: readonly (string | undefined)[]): Set<string> {
  const seen = new Set<string>();
  const twice = new Set<string>();
  for (const value of values) {
    if (value === undefined) continue;
    if (seen.has(value)) twice.add(value);
    seen.add(value);
  }
  return twice;
}
