import { expect, it } from "vitest";
import { pickContext } from "../../support/pick-context.ts";
import { keptBy } from "../../support/plugins.ts";

const CLOSED = { pool: {} };
const OPEN = { pool: { breaker: "open" as const } };
const HALF_OPEN = { pool: { breaker: "halfOpen" as const } };

it.for<[string, object[], number[]]>([
  ["keeps those that wait for a probe", [CLOSED, HALF_OPEN, OPEN, HALF_OPEN], [1, 3]],
  ["keeps all where nobody does", [CLOSED, OPEN], [0, 1]],
  ["keeps everybody where slots are no pools", [{}, {}], [0, 1]],
])("%s", ([, rows, kept]) => {
  expect(keptBy("pool-probe-filter", {}, pickContext(rows))).toEqual(kept);
});
