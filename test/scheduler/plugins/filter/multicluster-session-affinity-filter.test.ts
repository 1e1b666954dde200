import { describe, expect, it } from "vitest";
import { findPlugin } from "../../../../src/scheduler/registry.ts";
import { encodeBase64 } from "../../../../src/scheduler/support/base64.ts";
import { pickContext } from "../../support/pick-context.ts";
import { keptBy } from "../../support/plugins.ts";

const TYPE = "multicluster-session-affinity-filter";

describe("multicluster-session-affinity-filter", () => {
  it("keeps the cluster that the session is bound to", () => {
    const headers = { "x-session-token": encodeBase64("default/e1") };
    expect(keptBy(TYPE, {}, pickContext([{}, {}], { request: { headers } }))).toEqual([1]);
  });

  it("is a type of its own, with the parameters of session-affinity-filter", () => {
    expect(findPlugin(TYPE)).toMatchObject({
      type: TYPE,
      kinds: ["filter"],
      stability: "alpha",
      params: findPlugin("session-affinity-filter")!.params,
    });
  });
});
