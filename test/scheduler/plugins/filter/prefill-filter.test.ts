import { describe, expect, it } from "vitest";
import { pickContext } from "../../support/pick-context.ts";
import { accepts, keptBy } from "../../support/plugins.ts";

const ROLES = [undefined, "prefill", "both", "encode-decode", "encode-prefill-decode", "encode"];

describe("prefill-filter", () => {
  it("keeps the endpoints whose role names the stage", () => {
    const rows = ROLES.map((role) =>
      role === undefined ? {} : { labels: { "llm-d.ai/role": role } },
    );
    expect(keptBy("prefill-filter", {}, pickContext(rows))).toEqual([1, 2, 4]);
  });

  it("takes no parameters", () => {
    expect(accepts("prefill-filter", { label: "role" })).toBe(false);
  });
});
