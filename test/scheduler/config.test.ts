import { describe, expect, it } from "vitest";
import { SCHEDULER_LIMITS, schedulerConfigSchema } from "../../src/scheduler/config.ts";

function issuesOf(config: unknown): string[] {
  const parsed = schedulerConfigSchema.safeParse(config);
  return (parsed.error?.issues ?? []).map((issue) => `${issue.path.join(".")}: ${issue.message}`);
}

describe("schedulerConfigSchema", () => {
  it("stands for the whole default when empty", () => {
    expect(schedulerConfigSchema.parse({})).toEqual({
      schedulingProfiles: [
        {
          name: "default",
          filters: [
            { type: "ejection-filter", params: {} },
            { type: "metrics-freshness-filter", params: {} },
          ],
          scorers: [
            { type: "queue-scorer", weight: 2, params: {} },
            { type: "kv-cache-utilization-scorer", weight: 2, params: {} },
            {
              type: "prefix-cache-scorer",
              weight: 3,
              params: { matchLengthWeight: 0, matchLengthScaleTokens: 8192 },
            },
            { type: "no-hit-lru-scorer", weight: 2, params: { lruSize: 1024 } },
          ],
          picker: { type: "max-score-picker", params: { maxNumOfEndpoints: 4 } },
        },
      ],
    });
  });

  it("keeps llm-d's default for a picker that is named", () => {
    const config = { schedulingProfiles: [{ picker: { type: "max-score-picker" } }] };
    expect(schedulerConfigSchema.parse(config).schedulingProfiles[0]?.picker.params).toEqual({
      maxNumOfEndpoints: 1,
    });
  });

  it("allows a profile without filters and scorers", () => {
    expect(issuesOf({ schedulingProfiles: [{ filters: [], scorers: [] }] })).toEqual([]);
  });

  it.for([
    { name: "an unknown key", config: { profiles: [] }, want: /^: .*profiles/ },
    {
      name: "an unknown key of a profile",
      config: { schedulingProfiles: [{ filter: [] }] },
      want: /^schedulingProfiles\.0: .*filter/,
    },
    {
      name: "a scorer listed twice",
      config: {
        schedulingProfiles: [{ scorers: [{ type: "queue-scorer" }, { type: "queue-scorer" }] }],
      },
      want: /^schedulingProfiles\.0\.scorers: a scorer is listed twice$/,
    },
    {
      name: "a filter listed twice",
      config: {
        schedulingProfiles: [
          { filters: [{ type: "metrics-freshness-filter" }, { type: "metrics-freshness-filter" }] },
        ],
      },
      want: /^schedulingProfiles\.0\.filters: a filter is listed twice$/,
    },
    {
      name: "two profiles",
      config: { schedulingProfiles: [{ name: "a" }, { name: "b" }] },
      want: /^schedulingProfiles: exactly one scheduling profile$/,
    },
    {
      name: "no profile",
      config: { schedulingProfiles: [] },
      want: /^schedulingProfiles: exactly one scheduling profile$/,
    },
  ])("says where $name is", ({ config, want }) => {
    expect(issuesOf(config)).toEqual([expect.stringMatching(want)]);
  });

  it("bounds the lists before it looks for doubles", () => {
    const scorers = Array.from({ length: SCHEDULER_LIMITS.scorersMax + 1 }, () => ({
      type: "queue-scorer",
    }));
    expect(issuesOf({ schedulingProfiles: [{ scorers }] })[0]).toContain("scorers");
  });
});
