import { describe, expect, it } from "vitest";
import { pluginOf } from "../../../../src/scheduler/registry.ts";
import { accepts, createPlugin } from "../../support/plugins.ts";

describe("disagg-headers-handler", () => {
  it("is taken, does nothing, and says so", () => {
    expect(accepts("disagg-headers-handler", { prefillProfile: "P", encodeProfile: "E" })).toBe(
      true,
    );
    expect(createPlugin("disagg-headers-handler")).toEqual({});
    expect(pluginOf("disagg-headers-handler").deprecated).toContain("disagg-profile-handler");
  });

  it("refuses what llm-d refuses", () => {
    expect(accepts("disagg-headers-handler", { decodeProfile: "D" })).toBe(false);
  });
});
