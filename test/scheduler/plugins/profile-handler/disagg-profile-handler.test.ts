import { describe, expect, it } from "vitest";
import { pluginOf } from "../../../../src/scheduler/registry.ts";
import { createHandler, FixedDecider, runHandler } from "../../support/handlers.ts";
import { accepts } from "../../support/plugins.ts";

const TYPE = "disagg-profile-handler";
const parse = (params: object) => pluginOf(TYPE).params.parse(params);

describe("disagg-profile-handler", () => {
  it("runs the configured profiles as their deciders say", () => {
    const params = {
      profiles: { prefill: "P", encode: "E" },
      deciders: { prefill: "pd", encode: "mm" },
    };
    const deciders = { pd: new FixedDecider(true), mm: new FixedDecider(false) };
    const handler = createHandler(TYPE, params, { profiles: ["decode", "P", "E"], deciders });
    expect(runHandler(handler, { decode: 0, P: 1, E: 2 })).toMatchObject({
      ran: ["decode", "P"],
      stages: { primary: "decode", prefill: "P" },
    });
  });

  it("runs prefill first if so ordered", () => {
    const handler = createHandler(
      TYPE,
      { stageOrder: "prefill-first" },
      { profiles: ["decode", "prefill"] },
    );
    expect(runHandler(handler, { decode: 0, prefill: 1 }).ran).toEqual(["prefill", "decode"]);
  });

  it("reads the older style as the nested one", () => {
    const older = {
      decodeProfile: "D",
      prefillProfile: "P",
      encodeProfile: "E",
      prefillDeciderPluginName: "pd",
      encodeDeciderPluginName: "mm",
    };
    const nested = {
      profiles: { decode: "D", prefill: "P", encode: "E" },
      deciders: { prefill: "pd", encode: "mm" },
    };
    expect(parse(older)).toEqual(parse(nested));
    expect(parse({ deciderPluginName: "old" })).toEqual(parse({ deciders: { prefill: "old" } }));
    expect(parse({ deciderPluginName: "old", prefillDeciderPluginName: "pd" })).toEqual(
      parse({ deciders: { prefill: "pd" } }),
    );
  });

  it("fills names in, and reads what it printed", () => {
    const filled = parse({});
    expect(filled).toEqual({
      stageOrder: "decode-first",
      profiles: { decode: "decode", prefill: "prefill", encode: "encode" },
      deciders: { prefill: "", encode: "" },
    });
    expect(parse(filled as object)).toEqual(filled);
  });

  it("refers to its deciders", () => {
    const plugin = pluginOf(TYPE);
    expect(plugin.references!(parse({ deciders: { encode: "mm" } }))).toEqual([
      { path: "deciders.encode", name: "mm", kind: "decider" },
    ]);
  });

  it.for(["", "decode", "Decode-First", "decode_first", "prefill", "PrefillFirst"])(
    "takes the order '%s'",
    (stageOrder) => {
      const want = /prefill/i.test(stageOrder) ? "prefill-first" : "decode-first";
      expect(parse({ stageOrder })).toMatchObject({ stageOrder: want });
    },
  );

  it.for([
    { profiles: {}, decodeProfile: "D" },
    { deciders: {}, deciderPluginName: "pd" },
    { stageOrder: "encode-first" },
    { stageOrder: "prefill-first", deciders: { prefill: "pd" } },
    { stageOrder: "prefill", deciderPluginName: "pd" },
    { profiles: { decoder: "D" } },
  ])("refuses %j", (params) => {
    expect(accepts(TYPE, params)).toBe(false);
  });
});
