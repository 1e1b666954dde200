import { describe, expect, it } from "vitest";
import { pluginOf } from "../../../../src/scheduler/registry.ts";
import { createHandler, runHandler } from "../../support/handlers.ts";

const TYPE = "header-profile-handler";
const profiles = ["decode", "prefill"];
const slots = { decode: 0, prefill: 1 };

describe("header-profile-handler", () => {
  const run = (headers: Record<string, string>, params: object = {}) =>
    runHandler(createHandler(TYPE, params, { profiles }), slots, { request: { headers } });

  it.for([
    { name: "the profile that is named", headers: { "epp-profile": " prefill " }, want: "prefill" },
    { name: "the default without the header", headers: {}, want: "decode" },
    { name: "the default for an empty header", headers: { "epp-profile": "" }, want: "decode" },
  ])("runs $name", ({ headers, want }) => {
    expect(run(headers as Record<string, string>)).toEqual({
      ran: [want],
      stages: { primary: want },
    });
  });

  it("runs nothing for a name that no profile has, and does not repeat it", () => {
    const { ran, stages } = run({ "epp-profile": "secret" });
    expect(ran).toEqual([]);
    expect(stages).toBe(
      "header epp-profile names none of the scheduling profiles: decode, prefill",
    );
  });

  it("runs nothing where the default is no profile", () => {
    expect(run({}, { defaultProfile: "encode" }).ran).toEqual([]);
  });

  it.for([
    { name: "its name", headers: { "epp-profile": "only" }, want: ["only"] },
    { name: "no header", headers: {}, want: ["only"] },
    { name: "another name", headers: { "epp-profile": "other" }, want: [] },
    { name: "the default's name", headers: { "epp-profile": "decode" }, want: [] },
  ])("with one profile runs for $name: $want", ({ headers, want }) => {
    const handler = createHandler(TYPE, {}, { profiles: ["only"] });
    const request = { headers: headers as Record<string, string> };
    const { ran, stages } = runHandler(handler, { only: 2 }, { request });
    expect(ran).toEqual(want);
    const refusal = "header epp-profile names none of the scheduling profiles: only";
    expect(stages).toEqual(want.length === 0 ? refusal : { primary: "only" });
  });

  it("turns away where the profile finds nobody", () => {
    const handler = createHandler(TYPE, {}, { profiles });
    expect(runHandler(handler, { decode: -1 }).stages).toContain("no endpoint passed");
  });

  it("asks for its header, in lower case", () => {
    const { params, ...plugin } = pluginOf(TYPE);
    expect(plugin.requestHeaders!(params.parse({}))).toEqual(["epp-profile"]);
    expect(plugin.requestHeaders!(params.parse({ headerName: " X-Stage " }))).toEqual(["x-stage"]);
    expect(run({ "x-stage": "prefill" }, { headerName: "X-Stage" }).ran).toEqual(["prefill"]);
  });
});
