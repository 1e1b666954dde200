import { expect, it } from "vitest";
import type { Decider } from "../../../../src/scheduler/plugin.ts";
import { pickContext } from "../../support/pick-context.ts";
import { createPlugin } from "../../support/plugins.ts";

it("always-disagg-pd-decider says yes", () => {
  const decider = createPlugin("always-disagg-pd-decider") as Decider;
  expect(decider.decide(pickContext([{}]), 0)).toBe(true);
});
