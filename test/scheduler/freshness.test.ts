import { describe, expect, it } from "vitest";
import { isFresh, isSilent } from "../../src/scheduler/freshness.ts";
import { pickContext, STALE_AFTER_MS } from "./support/pick-context.ts";

describe("freshness", () => {
  it.for([
    { name: "just now", ageMs: 0, fresh: true, silent: false },
    { name: "at the limit", ageMs: STALE_AFTER_MS, fresh: true, silent: false },
    { name: "past the limit", ageMs: STALE_AFTER_MS + 1, fresh: false, silent: true },
    { name: "never", ageMs: Infinity, fresh: false, silent: false },
  ])("of an endpoint sampled $name", ({ ageMs, fresh, silent }) => {
    const context = pickContext([{ ageMs }]);
    expect({ fresh: isFresh(context, 0), silent: isSilent(context, 0) }).toEqual({ fresh, silent });
  });
});
