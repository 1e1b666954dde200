import { describe, expect, it } from "vitest";
import { formatPath } from "../../../src/config/deployment.ts";
import { loadSchedulerConfig } from "../../../src/scheduler/config/load.ts";

/** What is said of profiles of a handler with `parameters`, among profiles of these names. */
function told(type: string, parameters: object, profiles: readonly string[]) {
  const { issues, notes } = loadSchedulerConfig(
    {
      plugins: [
        { type, parameters },
        { type: "queue-scorer" },
        { type: "always-disagg-pd-decider" },
      ],
      schedulingProfiles: profiles.map((name) => ({
        name,
        plugins: [{ pluginRef: "queue-scorer" }],
      })),
    },
    { allowExperimentalPlugins: true },
  );
  const lines = (found: typeof notes) =>
    found
      .map(({ path, message }) => `${formatPath(path)}: ${message}`)
      .filter((line) => line.includes("scheduling profile"));
  return { issues: lines(issues), notes: lines(notes) };
}
const DISAGG = "disagg-profile-handler";
const NONE = { issues: [], notes: [] };

describe("profiles that a handler names", () => {
  it("are refused where nothing can be decided without them", () => {
    expect(told(DISAGG, { profiles: { decode: "dec" } }, ["decode"]).issues).toEqual([
      "plugins[0].parameters.profiles.decode: no scheduling profile has this name; there are 'decode'. Without it every request is turned away",
    ]);
    const pd = { deciderPluginName: "always-disagg-pd-decider", decodeProfile: "dec" };
    expect(told("pd-profile-handler", pd, ["decode", "prefill"]).issues).toEqual([
      expect.stringMatching(/^plugins\[0\]\.parameters\.decodeProfile: .* 'decode', 'prefill'\./),
    ]);
  });

  it("are noted where a stage only never runs", () => {
    const { issues, notes } = told(DISAGG, { profiles: { prefill: "pre" } }, ["decode", "prefill"]);
    expect(issues).toEqual([]);
    expect(notes).toEqual([
      "plugins[0].parameters.profiles.prefill: no scheduling profile has this name; there are 'decode', 'prefill': prefill never runs apart",
    ]);
    const decider = { deciders: { prefill: "always-disagg-pd-decider" } };
    expect(told(DISAGG, decider, ["decode"]).notes).toHaveLength(1);
    expect(told(DISAGG, { stageOrder: "prefill-first" }, ["decode"]).notes).toHaveLength(1);
  });

  it("need not be there by their default names, without a decider", () => {
    expect(told(DISAGG, {}, ["decode"])).toEqual(NONE);
    expect(told(DISAGG, {}, ["decode", "prefill"])).toEqual(NONE);
  });

  it("are noted for requests without a header, where there is more than one", () => {
    const type = "header-profile-handler";
    expect(told(type, {}, ["a", "b"]).notes).toEqual([
      "plugins[0].parameters.defaultProfile: no scheduling profile has this name; there are 'a', 'b': requests without the header are turned away",
    ]);
    expect(told(type, {}, ["a"])).toEqual(NONE);
    expect(told(type, { defaultProfile: "b" }, ["a", "b"])).toEqual(NONE);
  });

  it("are one for ranks of a data-parallel engine", () => {
    const type = "data-parallel-profile-handler";
    expect(told(type, {}, ["a", "b"]).issues).toEqual([
      `plugins[0]: ${type} takes at most 1 scheduling profile; 2 are listed`,
    ]);
    expect(told(type, {}, ["a"])).toEqual(NONE);
  });

  it("are noted where a session is to be bound by one", () => {
    const type = "session-affinity-scorer";
    expect(told(type, { profileName: "x" }, ["a"]).notes).toEqual([
      expect.stringContaining("no session is ever bound"),
    ]);
  });
});

describe("options without effect", () => {
  it.for<[string, object, string]>([
    ["pd-profile-handler", { primaryPort: 8000 }, "to the chosen rank's own one"],
    ["topology-affinity-scorer", { topologyProducerName: "x" }, "topologyProducerName is without"],
    [
      "endpoint-attribute-scorer",
      { attributeKey: "k", producer: "x", algorithm: { type: "linear_lower_is_better" } },
      "producer is without effect",
    ],
    [
      "endpoint-attribute-filter",
      {
        attribute: "k",
        producer: "x",
        algorithm: { type: "threshold", threshold: { operator: "Equal", value: 1 } },
      },
      "producer is without effect",
    ],
    ["openai-parser", {}, "responses, …/conversations, …/embeddings, …/images/generations yet"],
  ])("of %s are noted", ([type, parameters, says]) => {
    const { notes } = loadSchedulerConfig(
      { plugins: [{ type, parameters }] },
      { allowExperimentalPlugins: true },
    );
    expect(notes.map(({ message }) => message).join("\n")).toContain(says);
  });
});
