import { describe, expect, it } from "vitest";
import type { Decider } from "../../../../src/scheduler/plugin.ts";
import { pickContext } from "../../support/pick-context.ts";
import { createPlugin } from "../../support/plugins.ts";

describe("always-disagg-multimodal-decider", () => {
  it.for([
    {
      name: "yes to an image",
      media: { hashes: Uint32Array.of(1, 2), tokens: Uint32Array.of(9) },
      want: true,
    },
    { name: "no without media", media: undefined, want: false },
    {
      name: "no to an empty list",
      media: { hashes: new Uint32Array(), tokens: new Uint32Array() },
      want: false,
    },
  ])("says $name", ({ media, want }) => {
    const decider = createPlugin("always-disagg-multimodal-decider") as Decider;
    const request = media === undefined ? {} : { media };
    expect(decider.decide(pickContext([{}], { request }), -1)).toBe(want);
  });
});
