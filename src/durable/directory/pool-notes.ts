// What an operator should know of what was just done to pools, though it is done.

import type { Deployment } from "../../config/deployment.ts";

/** After a configuration was put in the place of another. */
export function jurisdictionNotes(
  before: Deployment,
  after: Deployment,
  keepsJurisdictions: boolean,
): string[] {
  const notes = after.pools.flatMap(({ name, jurisdiction }) => {
    const old = before.pools.find((pool) => pool.name === name);
    if (!keepsJurisdictions || old === undefined || old.jurisdiction === jurisdiction) return [];
    const [from, to] = [old.jurisdiction, jurisdiction].map((of) => of ?? "no jurisdiction");
    return [
      `pool ${name}: it has moved from ${from} to ${to}, where it has another object. What waited in the ` +
        "old one is dropped, and what that had learned of caches and speeds is learned anew.",
    ];
  });
  const unkept = after.pools.filter(({ jurisdiction }) => jurisdiction !== undefined);
  if (keepsJurisdictions || unkept.length === 0) return notes;
  const names = unkept.map(({ name }) => name).join(", ");
  return [
    `Only Cloudflare keeps an object in a jurisdiction. Here those of ${names} are where this Fairlead ` +
      "runs; tenants' `jurisdictions` hold all the same.",
  ];
}

/** After a pool was drained: models that no pool takes requests for any more. */
export function drainNotes(
  { pools }: Deployment,
  drained: ReadonlySet<string>,
  pool: string,
): string[] {
  const served = new Set(
    pools.flatMap(({ name, models }) => (drained.has(name) ? [] : (models as string[]))),
  );
  const models = pools.find(({ name }) => name === pool)?.models ?? [];
  const left = models.filter((model) => !served.has(model));
  if (left.length === 0) return [];
  return [
    `No other pool takes requests for ${left.join(", ")}: they are refused until this one or another does.`,
  ];
}
