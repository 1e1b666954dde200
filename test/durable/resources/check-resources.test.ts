import { describe, expect, it } from "vitest";
import { PROTOCOL_LIMITS } from "../../../src/agents/protocol/limits.ts";
import { DEPLOYMENT_LIMITS } from "../../../src/config/deployment.ts";
import { checkResources, NOTHING } from "../../../src/durable/resources/check-resources.ts";
import { MODEL_REWRITE_LIMITS } from "../../../src/scheduler/rewrite/config.ts";

const gold = { name: "gold", priority: 9 };
const rules = [{ matches: [{ model: { value: "fast" } }], targets: [{ modelRewrite: "m-8b" }] }];

it("as many are told as a configuration may have", () => {
  expect(PROTOCOL_LIMITS.objectivesMax).toBe(DEPLOYMENT_LIMITS.objectivesPerPoolMax);
  expect(PROTOCOL_LIMITS.rewritesMax).toBe(MODEL_REWRITE_LIMITS.rewritesMax);
});

describe("checkResources", () => {
  it("reads resources as the configuration's schemas do", () => {
    const told = { objectives: [gold, { name: "plain" }], rewrites: [{ name: "r", rules }] };
    expect(checkResources(told, NOTHING)).toEqual({
      resources: {
        objectives: [gold, { name: "plain", priority: 0 }],
        rewrites: [
          {
            name: "r",
            rules: [
              {
                matches: [{ model: { type: "Exact", value: "fast" } }],
                targets: [{ modelRewrite: "m-8b" }],
              },
            ],
          },
        ],
      },
      mistaken: { objectives: [], rewrites: [] },
    });
  });

  it.for([
    ["a priority beyond 32 bits", { priority: 2 ** 31 }, /^priority: /],
    ["a field of a later release", { priority: 1, tier: "x" }, /tier/],
    ["a name in capitals", { name: "Gold", priority: 1 }, /^name: /],
  ] as const)("says what is wrong with %s", ([, fields, why]) => {
    const { resources, mistaken } = checkResources(
      { objectives: [gold, { name: "bad", ...fields }] },
      NOTHING,
    );
    expect(resources.objectives).toEqual([gold]);
    expect(mistaken.objectives).toEqual([
      { name: "name" in fields ? "Gold" : "bad", why: expect.stringMatching(why) as string },
    ]);
  });

  it("does not widen a rewrite whose match it cannot read", () => {
    const later = [{ matches: [{ header: { name: "x" } }], targets: [{ modelRewrite: "m" }] }];
    const { resources, mistaken } = checkResources(
      { rewrites: [{ name: "later", rules: later }] },
      NOTHING,
    );
    expect(resources.rewrites).toEqual([]);
    expect(mistaken.rewrites).toMatchObject([{ name: "later" }]);
  });

  it("keeps a resource that has become mistaken, until it is gone", () => {
    const before = checkResources({ objectives: [gold] }, NOTHING);
    const mistaken = checkResources({ objectives: [{ name: "gold", priority: "high" }] }, before);
    expect(mistaken.resources.objectives).toEqual([gold]);
    expect(mistaken.mistaken.objectives[0]!.why).toMatch(/its last good form is in force$/);
    expect(checkResources({ objectives: [] }, mistaken)).toEqual(NOTHING);
  });

  it("keeps a kind that is not told", () => {
    const before = checkResources(
      { objectives: [gold], rewrites: [{ name: "r", rules }] },
      NOTHING,
    );
    expect(checkResources({}, before)).toEqual(before);
    expect(checkResources({ rewrites: [] }, before).resources).toEqual({
      objectives: [gold],
      rewrites: [],
    });
  });

  it("takes the first of two of one name", () => {
    const told = { objectives: [gold, { name: "gold", priority: 1 }] };
    expect(checkResources(told, NOTHING).resources.objectives).toEqual([gold]);
  });
});
