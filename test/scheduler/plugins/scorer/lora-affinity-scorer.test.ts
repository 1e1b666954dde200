import { describe, expect, it } from "vitest";
import { type EndpointRow, pickContext, STALE_AFTER_MS } from "../../support/pick-context.ts";
import { createScorer, scoresOf } from "../../support/plugins.ts";

const ADAPTER = "sql";

function scores(rows: readonly EndpointRow[]): number[] {
  const context = pickContext(rows, { request: { model: ADAPTER } });
  return scoresOf(createScorer("lora-affinity-scorer"), context);
}

describe("lora-affinity-scorer", () => {
  it.for([
    { name: "active", lora: { active: [ADAPTER], maxActive: 1 }, want: 1 },
    { name: "active beats waiting", lora: { active: [ADAPTER], waiting: [ADAPTER] }, want: 1 },
    { name: "room for another", lora: { active: ["chat"], maxActive: 2 }, want: 0.8 },
    { name: "waiting where there is room", lora: { waiting: [ADAPTER], maxActive: 2 }, want: 0.8 },
    { name: "waiting", lora: { active: ["chat"], waiting: [ADAPTER], maxActive: 2 }, want: 0.6 },
    { name: "full", lora: { active: ["chat"], waiting: ["code"], maxActive: 2 }, want: 0 },
    { name: "of an engine that does not tell", lora: {}, want: 0 },
  ])("scores an adapter: $name", ({ lora, want }) => {
    expect(scores([{ lora }])).toEqual([want]);
  });

  it("gives a stale or never sampled endpoint nothing", () => {
    const lora = { active: [ADAPTER], maxActive: 4 };
    expect(
      scores([
        { lora, ageMs: STALE_AFTER_MS + 1 },
        { lora, ageMs: Infinity },
      ]),
    ).toEqual([0, 0]);
  });
});
