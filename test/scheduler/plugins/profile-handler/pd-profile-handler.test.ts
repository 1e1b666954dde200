import { describe, expect, it } from "vitest";
import { pluginOf } from "../../../../src/scheduler/registry.ts";
import { createHandler, FixedDecider, runHandler } from "../../support/handlers.ts";
import { accepts } from "../../support/plugins.ts";

const TYPE = "pd-profile-handler";
const profiles = ["decode", "prefill"];
const slots = { decode: 0, prefill: 1 };

describe("pd-profile-handler", () => {
  it.for([
    { answer: true, want: { primary: "decode", prefill: "prefill" } },
    { answer: false, want: { primary: "decode" } },
  ])("prefills apart if its decider says $answer", ({ answer, want }) => {
    const deciders = { "prefix-based-pd-decider": new FixedDecider(answer) };
    expect(runHandler(createHandler(TYPE, {}, { profiles, deciders }), slots).stages).toEqual(want);
  });

  it("names its decider and its port", () => {
    const params = { deciderPluginName: "mine", primaryPort: 8000 };
    const deciders = { mine: new FixedDecider(false) };
    expect(runHandler(createHandler(TYPE, params, { profiles, deciders }), slots).stages).toEqual({
      primary: "decode",
      dataParallelPort: 8000,
    });
    const plugin = pluginOf(TYPE);
    expect(plugin.references!(plugin.params.parse(params))).toEqual([
      { path: "deciderPluginName", name: "mine", kind: "decider" },
    ]);
  });

  it("says what is without effect", () => {
    const plugin = pluginOf(TYPE);
    const notes = plugin.notes!(plugin.params.parse({ prefixPluginName: "mine" }));
    expect(notes.filter((note) => note.startsWith("prefixPluginName "))).toHaveLength(1);
    expect(plugin.deprecated).toContain("disagg-profile-handler");
  });

  it.for([{ primaryPort: 65_536 }, { primaryPort: -1 }, { deciderPluginName: "" }])(
    "refuses %j",
    (params) => {
      expect(accepts(TYPE, params)).toBe(false);
    },
  );
});
