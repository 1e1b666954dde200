import { expect, it } from "vitest";
import { pickContext, STALE_AFTER_MS } from "../../support/pick-context.ts";
import { keptBy } from "../../support/plugins.ts";

const FRESH = { pool: {}, ageMs: STALE_AFTER_MS };
const STALE = { pool: {}, ageMs: STALE_AFTER_MS + 1 };
const SILENT = { pool: {}, ageMs: Infinity };

it.for<[string, object[], number[]]>([
  ["keeps the fresh", [STALE, FRESH, SILENT, FRESH], [1, 3]],
  ["keeps the stale where nobody is fresh", [SILENT, STALE], [1]],
  ["keeps the silent where all are", [SILENT, SILENT], [0, 1]],
  ["keeps everybody where slots are no pools", [{ ageMs: Infinity }, {}], [0, 1]],
])("%s", ([, rows, kept]) => {
  expect(keptBy("pool-freshness-filter", {}, pickContext(rows))).toEqual(kept);
});
