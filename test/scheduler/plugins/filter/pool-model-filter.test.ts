import { expect, it } from "vitest";
import { pickContext } from "../../support/pick-context.ts";
import { keptBy } from "../../support/plugins.ts";

const lists = (...names: string[]) => ({ pool: { lists: names } });

it.for<[string, object[], number[]]>([
  ["keeps those that list the model", [lists("model-b"), lists("base", "model-a")], [1]],
  ["believes those that are not asked", [{ pool: {} }, lists("model-b")], [0]],
  ["keeps all where nobody lists it", [lists("model-b"), lists()], [0, 1]],
  ["keeps everybody where slots are no pools", [{}, {}], [0, 1]],
])("%s", ([, rows, kept]) => {
  expect(keptBy("pool-model-filter", {}, pickContext(rows))).toEqual(kept);
});
