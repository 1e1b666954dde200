import { expect, it } from "vitest";
import { pickContext } from "../../support/pick-context.ts";
import { keptBy } from "../../support/plugins.ts";

const tier = (failoverTier: number) => ({ pool: { failoverTier } });

it.for<[string, object[], number[]]>([
  ["keeps the lowest tier", [tier(1), tier(0), tier(2), tier(0)], [1, 3]],
  ["keeps the lowest that is left", [tier(2), tier(1), tier(1)], [1, 2]],
  ["keeps everybody where slots are no pools", [{}, {}], [0, 1]],
])("%s", ([, rows, kept]) => {
  expect(keptBy("pool-failover-tier-filter", {}, pickContext(rows))).toEqual(kept);
});
