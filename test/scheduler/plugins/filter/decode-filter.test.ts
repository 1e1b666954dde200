import { describe, expect, it } from "vitest";
import { pickContext } from "../../support/pick-context.ts";
import { accepts, keptBy } from "../../support/plugins.ts";

const ROLES = [undefined, "prefill", "both", "encode-decode", "encode-prefill-decode", "encode"];

describe("decode-filter", () => {
  it("keeps the endpoints whose role names the stage", () => {
    const rows = ROLES.map((role) =>
      role === undefined ? {} : { labels: { "llm-d.ai/role": role } },
    );
    expect(keptBy("decode-filter", {}, pickContext(rows))).toEqual([0, 2, 3, 4]);
  });

  it("takes no parameters", () => {
    expect(accepts("decode-filter", { label: "role" })).toBe(false);
  });
});
