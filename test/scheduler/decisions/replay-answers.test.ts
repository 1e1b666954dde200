// Replays of whole configurations: handlers, deciders, screeners and admitters, as pools live.

import { readdirSync, readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { schedulerConfigSchema } from "../../../src/scheduler/config/schema.ts";
import type { SchedulerConfig } from "../../../src/scheduler/config/scheduler-config.ts";
import { replayAttempt } from "../../../src/scheduler/decisions/replay.ts";
import type { ReplayableAttempt } from "../../../src/scheduler/decisions/replay-document.ts";
import { EXAMPLE } from "../../conformance/contexts.ts";
import { anyEvent, live } from "../support/pool-life.ts";
import { TestPool } from "../support/pool.ts";

const profile = (name: string, ...plugins: readonly string[]) => ({
  name,
  plugins: plugins.map((pluginRef) => ({ pluginRef })),
});
const STAGES = [
  profile("decode", "decode-filter", "queue-scorer", "prefix-cache-scorer"),
  profile("prefill", "prefill-filter", "prefix-cache-scorer", "no-hit-lru-scorer"),
  profile("encode", "encode-filter", "kv-cache-utilization-scorer"),
];
const STAGE_PLUGINS = [
  "decode-filter",
  "prefill-filter",
  "encode-filter",
  "queue-scorer",
  "prefix-cache-scorer",
  "no-hit-lru-scorer",
  "kv-cache-utilization-scorer",
].map((type) => ({ type }));
const DECIDERS = { prefill: "prefix-based-pd-decider", encode: "always-disagg-multimodal-decider" };

const CONFIGS: readonly { name: string; document: object; refusedMin?: number }[] = [
  {
    name: "decode, then what pays",
    document: {
      plugins: [
        ...STAGE_PLUGINS,
        { type: "prefix-based-pd-decider", parameters: { nonCachedTokens: 100 } },
        { type: "always-disagg-multimodal-decider" },
        { type: "disagg-profile-handler", parameters: { deciders: DECIDERS } },
      ],
      schedulingProfiles: STAGES,
    },
  },
  {
    name: "prefill first",
    document: {
      plugins: [
        ...STAGE_PLUGINS,
        { type: "disagg-profile-handler", parameters: { stageOrder: "prefill-first" } },
      ],
      schedulingProfiles: STAGES,
    },
  },
  {
    name: "a profile by header",
    document: {
      plugins: [
        { type: "header-profile-handler", parameters: { headerName: EXAMPLE.header } },
        { type: "queue-scorer" },
        { type: "random-picker" },
      ],
      schedulingProfiles: [profile("a", "queue-scorer"), profile("b", "random-picker")],
    },
  },
  {
    name: "requests that are turned away by chance",
    refusedMin: 1,
    document: {
      plugins: [{ type: "probabilistic-admitter" }, { type: "queue-scorer" }],
      schedulingProfiles: [profile("default", "queue-scorer")],
    },
  },
  {
    name: "requests whose SLO cannot be met",
    refusedMin: 1,
    document: {
      plugins: [{ type: "latency-slo-admitter" }, { type: "latency-scorer" }],
      schedulingProfiles: [profile("default", "latency-scorer")],
    },
  },
  {
    name: "revisions of a rollout",
    document: {
      plugins: [
        {
          type: "disaggregatedset-rollout-screener",
          parameters: {
            scope: { labelSelector: `${EXAMPLE.label} in (a,b)` },
            revisionGating: {
              mode: "sum",
              roleLabelKey: "llm-d.ai/role",
              requireRoles: { values: ["decode"] },
            },
          },
        },
        { type: "queue-scorer" },
        { type: "weighted-random-picker" },
      ],
      schedulingProfiles: [profile("default", "queue-scorer", "weighted-random-picker")],
    },
  },
];

/** llm-d's guides, as somebody brings them. */
const GUIDES_DIR = new URL("../../fixtures/guides/", import.meta.url);
const GUIDES = readdirSync(GUIDES_DIR)
  .filter((name) => name.endsWith(".yaml"))
  .map((name) => ({
    name,
    document: parse(readFileSync(new URL(name, GUIDES_DIR), "utf8")) as object,
  }));

const anyLife = fc.record({
  endpoints: fc.oneof(fc.integer({ min: 3, max: 12 }), fc.integer({ min: 70, max: 150 })),
  events: fc.array(anyEvent, { minLength: 10, maxLength: 50 }),
});

/** What a run shows of the choice besides the primary one. */
function stagesOf({ stages }: Pick<ReplayableAttempt, "stages">) {
  return stages?.map(({ profile: name, role, chosen }) => ({ name, role, chosen })) ?? [];
}

/** Lets pools live under a configuration, replays what they decided, and counts what was seen. */
function replayLives(config: SchedulerConfig, numRuns: number) {
  const seen = { chosen: 0, dropped: 0, partial: 0, stages: 0 };
  fc.assert(
    fc.property(anyLife, ({ endpoints, events }) => {
      for (const attempt of live(new TestPool(endpoints, config), events)) {
        const { isSame, replayed } = replayAttempt(attempt);
        expect(replayed.dropped).toEqual(attempt.dropped);
        expect(isSame).toBe(true);
        const isPartial = attempt.candidateCount > attempt.candidates.length;
        // Of a part, it is not known whom of the spared all were to fall back on.
        const isUnknown = isPartial && attempt.candidates.some((each) => each.isSpared);
        const choice = (of: typeof replayed | typeof attempt) =>
          isUnknown ? [] : [of.chosen, stagesOf(of)];
        expect(choice(replayed)).toEqual(choice(attempt));
        seen[attempt.dropped === null ? "chosen" : "dropped"]++;
        if (isPartial) seen.partial++;
        if (attempt.stages !== undefined) seen.stages++;
      }
    }),
    { numRuns },
  );
  return seen;
}

describe("replayAttempt", { timeout: 60_000 }, () => {
  it.for(CONFIGS)("chooses as it was recorded: $name", ({ document, refusedMin = 0 }) => {
    const config = schedulerConfigSchema.parse(document);
    const seen = replayLives(config, 60);
    expect(seen.chosen).toBeGreaterThan(0);
    expect(seen.partial).toBeGreaterThan(0);
    expect(seen.stages > 0).toBe(config.schedulingProfiles.length === STAGES.length);
    expect(seen.dropped).toBeGreaterThanOrEqual(refusedMin);
  });

  it.for(GUIDES)("chooses as it was recorded with llm-d's $name", ({ document }) => {
    const seen = replayLives(schedulerConfigSchema.parse(document), 8);
    expect(seen.chosen + seen.dropped).toBeGreaterThan(0);
  });
});
