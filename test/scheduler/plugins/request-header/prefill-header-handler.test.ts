import { describe, expect, it } from "vitest";
import { pluginOf } from "../../../../src/scheduler/registry.ts";
import { accepts, createPlugin } from "../../support/plugins.ts";

describe("prefill-header-handler", () => {
  it("is taken, does nothing, and says so", () => {
    expect(accepts("prefill-header-handler", { prefillProfile: "P", encodeProfile: "E" })).toBe(
      true,
    );
    expect(createPlugin("prefill-header-handler")).toEqual({});
    expect(pluginOf("prefill-header-handler").deprecated).toContain("disagg-profile-handler");
  });

  it("refuses what llm-d refuses", () => {
    expect(accepts("prefill-header-handler", { decodeProfile: "D" })).toBe(false);
  });
});
