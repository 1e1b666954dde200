// What flows have been served, exchanged between the objects of one pool: by band and flow.

import type { Total } from "../shards/totals.ts";
import type { Bands } from "./bands.ts";

/** Of all bands, as totals whose keys name band and flow. Empty for policies that keep no such count. */
export function attainedIn(bands: Bands): Total[] {
  return bands.descending.flatMap(({ priority, fairness }) =>
    (fairness.attained?.() ?? []).map(({ fairnessId, life, tokens }) => ({
      key: `${priority} ${fairnessId}`,
      life: String(life),
      total: tokens,
    })),
  );
}

/** Takes what others have served meanwhile. Bands that nobody waits in here are not made for it. */
export function chargeBands(bands: Bands, tokens: ReadonlyMap<string, number>): void {
  const byPriority = new Map<string, Map<string, number>>();
  for (const [key, change] of tokens) {
    const end = key.indexOf(" ");
    const priority = key.slice(0, end);
    if (!byPriority.has(priority)) byPriority.set(priority, new Map());
    byPriority.get(priority)!.set(key.slice(end + 1), change);
  }
  for (const { priority, fairness } of bands.descending) {
    const changes = byPriority.get(String(priority));
    if (changes !== undefined) fairness.servedElsewhere?.(changes);
  }
}
