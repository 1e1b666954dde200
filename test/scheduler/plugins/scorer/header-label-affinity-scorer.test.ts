import { describe, expect, it } from "vitest";
import { pluginOf } from "../../../../src/scheduler/registry.ts";
import { pickContext } from "../../support/pick-context.ts";
import { createScorer, scoresOf } from "../../support/plugins.ts";

const PARAMS = { headerName: "X-Region", labelKey: "region" };
const ROWS = [{ labels: { region: "eu" } }, { labels: { region: "us" } }, {}];

function scores(headers: Record<string, string>): number[] {
  const context = pickContext(ROWS, { request: { headers } });
  return scoresOf(createScorer("header-label-affinity-scorer", PARAMS), context);
}

describe("header-label-affinity-scorer", () => {
  it("scores endpoints whose label equals the header", () => {
    expect(scores({ "x-region": "us" })).toEqual([0, 1, 0]);
    expect(scores({ "x-region": "US" })).toEqual([0, 0, 0]);
  });

  it("scores nobody without the header, not even who has no label", () => {
    expect(scores({})).toEqual([0, 0, 0]);
  });

  it("asks for its header in lower case", () => {
    const plugin = pluginOf("header-label-affinity-scorer");
    expect(plugin.requestHeaders!(plugin.params.parse(PARAMS))).toEqual(["x-region"]);
  });

  it("wants both names", () => {
    const { params } = pluginOf("header-label-affinity-scorer");
    expect(params.safeParse({}).error!.issues.map(({ path }) => path[0])).toEqual([
      "headerName",
      "labelKey",
    ]);
  });
});
