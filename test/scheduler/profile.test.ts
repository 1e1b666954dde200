import { describe, expect, it } from "vitest";
import { resolveProfile } from "../../src/scheduler/config/resolve.ts";
import { Plugins } from "../../src/scheduler/plugins.ts";
import { SchedulingProfile } from "../../src/scheduler/profile.ts";
import { pickContext, STALE_AFTER_MS } from "./support/pick-context.ts";
import { profileConfig, type ProfileFacts } from "./support/profile-config.ts";

function createProfile(facts: ProfileFacts = {}): SchedulingProfile {
  const config = profileConfig(facts);
  return new SchedulingProfile(resolveProfile(config), new Plugins(config));
}

const LOAD_ONLY = {
  scorers: [
    { type: "queue-scorer", weight: 2 },
    { type: "kv-cache-utilization-scorer", weight: 3 },
  ],
};

describe("SchedulingProfile", () => {
  it("adds up weighted scores", () => {
    const context = pickContext([
      { queueDepth: 0, kvUsage: 0.5 },
      { queueDepth: 4, kvUsage: 0 },
    ]);
    const totals = new Float64Array(2).fill(99);
    createProfile(LOAD_ONLY).score(context, totals, new Float64Array(2));
    expect([...totals]).toEqual([2 + 3 * 0.5, 3]);
  });

  it("counts a score that is no number as 0, and one out of range as its bound", () => {
    const context = pickContext(
      [
        { matchedBlocks: 1, kvUsage: NaN },
        { matchedBlocks: -4, kvUsage: 0 },
      ],
      { totalBlocks: 2 },
    );
    const totals = new Float64Array(2);
    const profile = createProfile({
      scorers: [
        { type: "kv-cache-utilization-scorer" },
        { type: "prefix-cache-scorer", weight: 4 },
      ],
    });
    profile.score(context, totals, new Float64Array(2));
    expect([...totals]).toEqual([4 * 0.5, 1]);
  });

  it("counts a score above 1 as 1", () => {
    const parameters = { matchLengthWeight: 3, matchLengthScaleTokens: 64 };
    // A weight the schema refuses: 3 × 1² - 2 × 0.128 would be 2.744.
    const checked = profileConfig({ scorers: [{ type: "prefix-cache-scorer" }] });
    const plugins = checked.plugins.map((plugin) =>
      plugin.type === "prefix-cache-scorer"
        ? { ...plugin, parameters: { ...plugin.parameters, ...parameters } }
        : plugin,
    );
    const config = { ...checked, plugins };
    const profile = new SchedulingProfile(resolveProfile(config), new Plugins(config));
    const totals = new Float64Array(1);
    const context = pickContext([{ matchedBlocks: 128 }], { totalBlocks: 1_000 });
    profile.score(context, totals, new Float64Array(1));
    expect([...totals]).toEqual([1]);
  });

  it("scores everybody 0 without a scorer", () => {
    const totals = new Float64Array(2).fill(5);
    createProfile({ scorers: [] }).score(pickContext([{}, {}]), totals, new Float64Array(2));
    expect([...totals]).toEqual([0, 0]);
  });

  it("narrows the candidates, and tells a recorder who is left after each filter", () => {
    const context = pickContext([{}, { ageMs: STALE_AFTER_MS + 1 }, {}]);
    const seen: unknown[] = [];
    const left = createProfile().filter(context, context.candidates.slice(), {
      filtered: (slots, count) => seen.push([...slots.subarray(0, count)]),
      scored: () => seen.push("scored"),
    });
    expect([left, context.candidateCount]).toEqual([2, 2]);
    expect(seen).toEqual([
      [0, 1, 2],
      [0, 2],
    ]);
  });

  it("tells a recorder every scorer's clamped scores", () => {
    const seen: unknown[] = [];
    createProfile(LOAD_ONLY).score(
      pickContext([{ queueDepth: 1 }, { kvUsage: 0.25 }]),
      new Float64Array(2),
      new Float64Array(2),
      {
        filtered: () => seen.push("filtered"),
        scored: (context, scores) => seen.push([...scores.subarray(0, context.candidateCount)]),
      },
    );
    expect(seen).toEqual([
      [0, 1],
      [1, 0.75],
    ]);
  });
});
