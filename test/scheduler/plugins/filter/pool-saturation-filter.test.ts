import { expect, it } from "vitest";
import { pickContext } from "../../support/pick-context.ts";
import { keptBy } from "../../support/plugins.ts";

const ROOMY = { pool: {} };
const FULL = { pool: { isFull: true } };
const OVERLOADED = { pool: { isOverloaded: true } };

it.for<[string, object[], number[]]>([
  ["keeps those with room", [FULL, ROOMY, OVERLOADED], [1]],
  ["keeps all where nobody has any", [FULL, OVERLOADED], [0, 1]],
  ["keeps everybody where slots are no pools", [{}, {}], [0, 1]],
])("%s", ([, rows, kept]) => {
  expect(keptBy("pool-saturation-filter", {}, pickContext(rows))).toEqual(kept);
});
