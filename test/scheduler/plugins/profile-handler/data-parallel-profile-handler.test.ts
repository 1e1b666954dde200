import { describe, expect, it } from "vitest";
import { createHandler, runHandler } from "../../support/handlers.ts";
import { accepts } from "../../support/plugins.ts";

const TYPE = "data-parallel-profile-handler";

describe("data-parallel-profile-handler", () => {
  it("sends to the primary port of the chosen rank's host", () => {
    const handler = createHandler(TYPE, {}, { profiles: ["default"] });
    expect(runHandler(handler, { default: 1 })).toEqual({
      ran: ["default"],
      stages: { primary: "default", dataParallelPort: 8000 },
    });
  });

  it("turns away where nobody passed, and with several profiles", () => {
    const one = createHandler(TYPE, {}, { profiles: ["default"] });
    expect(runHandler(one, { default: -1 }).stages).toContain("no endpoint passed");
    const two = createHandler(TYPE, {}, { profiles: ["a", "b"] });
    expect(runHandler(two, { a: 0, b: 0 })).toEqual({
      ran: [],
      stages: "data-parallel-profile-handler takes exactly one scheduling profile",
    });
  });

  it("refuses what is no port", () => {
    expect(accepts(TYPE, { primaryPort: 0 })).toBe(false);
    expect(accepts(TYPE, { primaryPort: 70_000 })).toBe(false);
  });
});
