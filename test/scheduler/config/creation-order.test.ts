import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { creationOrder } from "../../../src/scheduler/config/creation-order.ts";

function orderOf(dependencies: Record<string, readonly string[]>) {
  return creationOrder(new Map(Object.entries(dependencies)));
}

describe("TestPluginsWithDependencies", () => {
  it.for([
    { name: "pluginsInOrder", given: { a: [], b: ["a"] }, names: ["a", "b"] },
    { name: "pluginsOutOfOrder", given: { b: ["a"], a: [] }, names: ["a", "b"] },
    {
      name: "several, in the order they are needed",
      given: { c: ["b", "a"], a: [], b: [] },
      names: ["b", "a", "c"],
    },
    {
      name: "what nobody needs stays in its place",
      given: { x: [], b: ["a"], a: [] },
      names: ["x", "a", "b"],
    },
    { name: "names that are not there are left aside", given: { a: ["nobody"] }, names: ["a"] },
  ])("$name", ({ given, names }) => {
    expect(orderOf(given)).toEqual({ ok: true, names });
  });

  it.for([
    {
      name: "errorPluginsRefedInLoop",
      given: { a: ["b"], b: ["c"], c: ["b"] },
      loop: ["b", "c", "b"],
    },
    { name: "one that needs itself", given: { a: ["a"] }, loop: ["a", "a"] },
  ])("$name", ({ given, loop }) => {
    expect(orderOf(given)).toEqual({ ok: false, loop });
  });
});

/** Plugins that need any of those before them, in any order. */
const graphs = fc
  .array(fc.array(fc.nat(19), { maxLength: 4 }), { minLength: 1, maxLength: 20 })
  .chain((needs) => {
    const entries = needs.map((each, i): [string, string[]] => [
      `p${i}`,
      each.filter((other) => other < i).map((other) => `p${other}`),
    ]);
    return fc.shuffledSubarray(entries, { minLength: entries.length });
  })
  .map((entries) => new Map(entries));

it("puts each behind all it needs, and leaves what is in order as it is", () => {
  fc.assert(
    fc.property(graphs, (graph) => {
      const order = creationOrder(graph);
      if (!order.ok) throw new Error("a loop in what has none");
      expect([...order.names].sort()).toEqual([...graph.keys()].sort());
      for (const [name, needs] of graph)
        for (const need of needs)
          expect(order.names.indexOf(need)).toBeLessThan(order.names.indexOf(name));
      const sorted = new Map(order.names.map((name) => [name, graph.get(name)!]));
      expect(creationOrder(sorted)).toEqual(order);
    }),
  );
});
