import { expect, it } from "vitest";
import { pickContext } from "../../support/pick-context.ts";
import type { RowOfPool } from "../../support/pool-columns.ts";
import { keptBy } from "../../support/plugins.ts";

const WELL: RowOfPool = { pool: {} };
const DRAINED: RowOfPool = { pool: { isDrained: true } };
const OPEN: RowOfPool = { pool: { breaker: "open" } };
const HALF_OPEN: RowOfPool = { pool: { breaker: "halfOpen" } };
const EMPTY: RowOfPool = { pool: { isEmpty: true } };

it.for<[string, RowOfPool[], number[]]>([
  ["keeps all that are well", [WELL, WELL], [0, 1]],
  ["drops drained ones", [DRAINED, WELL], [1]],
  ["drops drained ones also where nobody is left", [DRAINED, DRAINED], []],
  ["drops open ones while somebody is left", [OPEN, WELL, HALF_OPEN], [1, 2]],
  ["keeps open ones where nobody is left", [OPEN, DRAINED, EMPTY], [0, 2]],
  ["drops those without endpoints while somebody is left", [EMPTY, WELL], [1]],
  ["does not believe an old word that there are none", [{ ...EMPTY, ageMs: 1e6 }, WELL], [0, 1]],
  ["keeps everybody where slots are no pools", [{}, {}], [0, 1]],
])("%s", ([, rows, kept]) => {
  expect(keptBy("pool-state-filter", {}, pickContext(rows))).toEqual(kept);
});
