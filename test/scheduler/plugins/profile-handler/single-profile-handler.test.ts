import { describe, expect, it } from "vitest";
import type { ProfileHandler } from "../../../../src/scheduler/plugin.ts";
import { pickContext } from "../../support/pick-context.ts";
import { createPlugin } from "../../support/plugins.ts";

const handler = () =>
  createPlugin("single-profile-handler", {}, { profiles: ["only"] }) as ProfileHandler;

describe("single-profile-handler", () => {
  it("runs its profile once", () => {
    expect(handler().next(pickContext([{}]))).toBe("only");
    expect(handler().next(pickContext([{}], { results: { only: 0 } }))).toBeUndefined();
    expect(handler().next(pickContext([{}], { results: { only: -1 } }))).toBeUndefined();
  });

  it("sends where the profile chose, and turns away where it found nobody", () => {
    const finish = (only: number) => handler().finish(pickContext([{}], { results: { only } }));
    expect(finish(0)).toEqual({ primary: "only" });
    expect(finish(-1)).toContain("no endpoint passed");
  });
});
