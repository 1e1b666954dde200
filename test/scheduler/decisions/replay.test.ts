import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { schedulerConfigSchema } from "../../../src/scheduler/config/schema.ts";
import type { SchedulerConfig } from "../../../src/scheduler/config/scheduler-config.ts";
import { DECISION_LIMITS } from "../../../src/scheduler/decisions/record.ts";
import { explain } from "../../../src/scheduler/decisions/explain.ts";
import type { PluginKind } from "../../../src/scheduler/plugin.ts";
import { replayAttempt } from "../../../src/scheduler/decisions/replay.ts";
import { parseReplayable } from "../../../src/scheduler/decisions/replay-document.ts";
import { EXAMPLE } from "../../conformance/contexts.ts";
import { type Example, examplesOf } from "../../conformance/params.ts";
import { inferenceRequest, NOW_MS } from "../support/pick-context.ts";
import { anyEvent, type Event, live, PROMPTS, recordedAttempt } from "../support/pool-life.ts";
import { profileConfig, profileDocument, type ProfileFacts } from "../support/profile-config.ts";
import { promptKeys, TestPool } from "../support/pool.ts";
import { recordPick } from "../support/recorded.ts";

/** Whether a configuration of its own can name it. */
function isUsable({ type, params }: Example): boolean {
  const document = profileDocument({ filters: [], scorers: [], picker: { type, params } });
  const asPicker = schedulerConfigSchema.safeParse(document);
  const plugin = profileDocument({ scorers: [{ type, params }] });
  return asPicker.success || schedulerConfigSchema.safeParse(plugin).success;
}

/** Some plugins of a kind, each type once, with one of its examples' parameters. */
function pluginsOf(kind: PluginKind): fc.Arbitrary<readonly Example[]> {
  const byType = Map.groupBy(examplesOf(kind).filter(isUsable), ({ type }) => type);
  const choices = [...byType.values()].map((examples) => fc.constantFrom(...examples));
  return fc
    .tuple(...choices)
    .chain((examples) => fc.shuffledSubarray(examples))
    .map((examples) => examples.slice(0, 12));
}

/** Parameters that decide what is remembered, besides the examples. */
const MORE_PARAMS: Record<string, fc.Arbitrary<object>> = {
  "prefix-cache-scorer": fc.record({ matchLengthWeight: fc.constantFrom(0, 0.3, 1) }),
  "no-hit-lru-scorer": fc.record({ lruSize: fc.constantFrom(1, 5, 1_024) }),
};
const scorerFacts = pluginsOf("scorer").chain((examples) =>
  fc.tuple(
    ...examples.map(({ type, params }) =>
      fc.record({
        type: fc.constant(type),
        params: MORE_PARAMS[type] ?? fc.constant(params),
        weight: fc.integer({ min: 1, max: 3 }),
      }),
    ),
  ),
);
const pickerFacts = fc.constantFrom(...examplesOf("picker")).chain(({ type, params }) =>
  fc.record({
    type: fc.constant(type),
    params: fc
      .integer({ min: 1, max: 8 })
      .map((maxNumOfEndpoints) => ({ ...params, maxNumOfEndpoints })),
  }),
);
/** Both draw, the screener only where more than one revision is left. */
const rollout = {
  type: "disaggregatedset-rollout-screener",
  parameters: {
    scope: { labelSelector: `${EXAMPLE.label} in (a, b)` },
    revisionGating: {
      mode: "sum",
      roleLabelKey: "llm-d.ai/role",
      requireRoles: { values: ["decode", "prefill"] },
    },
  },
};
const shedding = fc.integer({ min: 1, max: 4 }).map((k) => ({
  type: "probabilistic-admitter",
  parameters: { power: 1, k },
}));
const gates = fc
  .tuple(fc.constantFrom([], [rollout]), fc.oneof(fc.constant([]), fc.tuple(shedding)))
  .map((each) => each.flat());

/** A configuration of one profile, with plugins that run before it. */
function configWith(profile: ProfileFacts, before: readonly object[]): SchedulerConfig {
  const document = profileDocument(profile);
  return schedulerConfigSchema.parse({ ...document, plugins: [...document.plugins, ...before] });
}

const anyConfig: fc.Arbitrary<SchedulerConfig> = fc
  .record({ filters: pluginsOf("filter"), scorers: scorerFacts, picker: pickerFacts, gates })
  // An instance may be both: its parameters are told once.
  .map(({ filters, scorers, picker, gates: before }) => {
    const others = filters.filter(({ type }) => !scorers.some((scorer) => scorer.type === type));
    return configWith({ filters: others, scorers, picker }, before);
  });

const anyLife = fc.record({
  config: anyConfig,
  endpoints: fc.oneof(fc.integer({ min: 2, max: 12 }), fc.integer({ min: 50, max: 150 })),
  events: fc.array(anyEvent, { minLength: 1, maxLength: 60 }),
});

describe("replayAttempt", () => {
  it("chooses as it was recorded, whatever the configuration and the pool's life", () => {
    const seen = { full: 0, partial: 0, dropped: 0, screened: 0, spared: 0, fallenBackOn: 0 };
    fc.assert(
      fc.property(anyLife, ({ config, endpoints, events }) => {
        const last: Event = { kind: "pick", slot: 0, load: 0, prompt: 1, ageMs: 0, seed: 1 };
        for (const attempt of live(new TestPool(endpoints, config), [...events, last])) {
          const { isSame, replayed } = replayAttempt(attempt);
          const isPartial = attempt.candidateCount > attempt.candidates.length;
          const spared = attempt.candidates.filter((one) => one.isSpared && one.total === null);
          const fallBack = spared.filter(({ rank }) => rank !== null).length;
          // Whom to fall back on is drawn from all of them.
          const known = attempt.chosen.length - (isPartial ? fallBack : 0);
          expect(replayed.chosen.slice(0, known)).toEqual(attempt.chosen.slice(0, known));
          expect(isSame).toBe(true);
          if (spared.length > 0) seen.spared++;
          if (fallBack > 0) seen.fallenBackOn++;
          seen[isPartial ? "partial" : "full"]++;
          if (attempt.dropped !== null) seen.dropped++;
          if (attempt.candidates.some(({ screenedBy }) => screenedBy !== null)) seen.screened++;
          const totals = (of: typeof replayed | typeof attempt) =>
            new Map(of.candidates.map(({ id, total, removedBy }) => [id, { total, removedBy }]));
          expect(totals(replayed)).toEqual(totals(attempt));
        }
      }),
      { numRuns: 150 },
    );
    expect(seen.full).toBeGreaterThan(0);
    expect(seen.partial).toBeGreaterThan(0);
    expect(seen.dropped).toBeGreaterThan(0);
    expect(seen.screened).toBeGreaterThan(0);
    expect(seen.spared).toBeGreaterThan(0);
    expect(seen.fallenBackOn).toBeGreaterThan(0);
  }, 30_000);

  it.for([
    { name: "all", exclude: [] },
    { name: "but one revision", exclude: [1, 3] },
    // In the rebuilt pool the first revision is not covered any more.
    { name: "but one endpoint", exclude: [2] },
  ])("draws as it was recorded, of $name", ({ exclude }) => {
    // What the screener draws, or that it does not, leaves the admitter and the picker alone.
    const random = { filters: [], scorers: [], picker: { type: "random-picker" } };
    const admitter = { type: "probabilistic-admitter", parameters: { power: 1, k: 40 } };
    const pool = new TestPool(4, configWith(random, [rollout, admitter]));
    for (const slot of pool.table.slots()) {
      const labels = {
        [EXAMPLE.label]: "a",
        "disaggregatedset.x-k8s.io/revision": slot % 2 === 0 ? "1" : "2",
        "llm-d.ai/role": slot < 2 ? "decode" : "prefill",
      };
      pool.table.add({ ...pool.table.endpoint(slot)!, labels });
    }
    const busy = { kvUsage: 0.01 };
    pool.sampleAll({ 0: busy, 1: busy, 2: busy, 3: busy });
    const request = inferenceRequest({ keys: promptKeys("x"), priority: -1 });
    const seeds = Array.from({ length: 200 }, (_, seed) => seed);
    const attempts = seeds.map((seed) => recordedAttempt(pool, "x", { seed, exclude, request }));
    expect(attempts.filter((attempt) => !replayAttempt(attempt).isSame)).toEqual([]);
    expect(new Set(attempts.map(({ dropped }) => dropped === null)).size).toBe(2);
  });

  it("knows of a large pool without a choice that some had passed the screeners", () => {
    const params = { conditions: [{ metric: "kv-cache-utilization", maxValue: 0.5 }] };
    const filters = [{ type: "utilization-filter", params }];
    const config = configWith({ filters, scorers: [], picker: { type: "max-score-picker" } }, [
      rollout,
    ]);
    // The first revision has no prefillers, and more endpoints than a record keeps; the other two are never sampled.
    const first = DECISION_LIMITS.candidatesMax + 1;
    const pool = new TestPool(first + 2, config);
    for (const slot of pool.table.slots()) {
      const labels = {
        [EXAMPLE.label]: "a",
        "disaggregatedset.x-k8s.io/revision": slot < first ? "1" : "2",
        "llm-d.ai/role": slot <= first ? "decode" : "prefill",
      };
      pool.table.add({ ...pool.table.endpoint(slot)!, labels });
    }
    const attempt = recordedAttempt(pool, "x");
    expect(attempt.dropped?.reason).toBe("rejected-saturated");
    expect(attempt.candidates.some(({ screenedBy }) => screenedBy === null)).toBe(true);
    expect(replayAttempt(attempt).isSame).toBe(true);
  });

  it("replays a refusal", () => {
    // No registered filter removes everybody, so the record is made by hand.
    const pool = new TestPool(2);
    pool.sampleAll();
    const attempt = recordedAttempt(pool, "x");
    const refused = {
      ...attempt,
      chosen: [],
      dropped: { reason: "rejected-saturated", detail: "no endpoint passed" },
    };
    expect(replayAttempt(refused).isSame).toBe(false);
    expect(replayAttempt({ ...refused, dropped: null }).isSame).toBe(false);
  });

  it("notices when the code would choose another today", () => {
    const pool = new TestPool(3);
    pool.sampleAll({ 0: { waiting: 5 } });
    const attempt = recordedAttempt(pool, "x");
    const [best, ...others] = attempt.candidates;
    const busier = { ...best!, columns: { ...best!.columns, queueDepth: 50 } };
    const changed = { ...attempt, candidates: [busier, ...others] };
    const { isSame, replayed } = replayAttempt(changed);
    expect(isSame).toBe(false);
    expect(replayed.chosen[0]).not.toBe(attempt.chosen[0]);
  });

  it("spares whom an isolate spared by any configuration, and whom an object did by its own", () => {
    const pool = new TestPool(2, profileConfig({ scorers: [{ type: "prefix-cache-scorer" }] }));
    pool.sampleAll({ 0: { waiting: 3 } });
    const attempt = recordedAttempt(pool, "x", { spared: Uint8Array.of(0, 1) });
    const other = profileConfig({ scorers: [{ type: "queue-scorer" }] });
    const none = { rttMs: null, snapshotAgeMs: null, credit: null, saturation: null };
    const terms = { ...none, knownTokens: null, possibleTokens: null, gainMs: null };
    const decided = { where: "local" as const, reason: "nothing-to-gain", ...terms };
    const first = (...args: Parameters<typeof replayAttempt>) =>
      replayAttempt(...args).replayed.chosen[0];
    expect(attempt.chosen[0]).toBe("10.0.0.0:8000");
    expect(first(attempt)).toBe("10.0.0.0:8000");
    expect(first(attempt, structuredClone(pool.config))).toBe("10.0.0.0:8000");
    expect(first(attempt, other)).toBe("10.0.0.1:8000");
    expect(first({ ...attempt, decided }, other)).toBe("10.0.0.0:8000");
  });

  it("shows what another configuration would have chosen", () => {
    const pool = new TestPool(2);
    const prompt = PROMPTS[1]!;
    pool.sampleAll({ 0: { waiting: 3 } });
    pool.prefix.learn(promptKeys(prompt), 0, 0);
    const onlyOf = (type: string) => profileConfig({ scorers: [{ type }] });
    const attempt = recordedAttempt(pool, prompt);
    const byQueue = replayAttempt(attempt, onlyOf("queue-scorer"));
    const byPrefix = replayAttempt(attempt, onlyOf("prefix-cache-scorer"));
    expect(byQueue.replayed.chosen[0]).toBe("10.0.0.1:8000");
    expect(byPrefix.replayed.chosen[0]).toBe("10.0.0.0:8000");
    expect(byQueue.notes).toEqual([]);
  });

  it("says what it cannot know of a scorer that learns", () => {
    const queueOnly = profileConfig({ scorers: [{ type: "queue-scorer" }] });
    const plain = new TestPool(3, queueOnly);
    plain.sampleAll();
    const unrecorded = replayAttempt(recordedAttempt(plain, "x"), profileConfig());
    expect(unrecorded.notes.join()).toContain(
      "no-hit-lru-scorer learns from picks, and the record",
    );
    const pool = new TestPool(3);
    pool.sampleAll();
    pool.send("cold");
    const attempt = recordedAttempt(pool, "x");
    expect(replayAttempt(attempt).notes).toEqual([]);
    expect(replayAttempt(attempt, pool.config).notes.join()).toContain("answers as recorded");
  });

  it("counts candidates for which a learning scorer has no answer", () => {
    const pool = new TestPool(3);
    pool.table.applySample(0, { waiting: 0 }, NOW_MS);
    const attempt = recordedAttempt(pool, "x");
    const unfiltered = profileConfig({ filters: [] });
    const { notes, replayed } = replayAttempt(attempt, unfiltered);
    expect(replayed.candidates.filter(({ total }) => total !== null)).toHaveLength(3);
    expect(notes.join()).toContain("no-hit-lru-scorer has no answer on record for 2 candidates");
  });

  it("takes what a large pool's plugins said from the record, and says so", () => {
    const pool = new TestPool(300);
    // The least busy have full caches: they are not kept, and the queue's scale depends on them.
    pool.sampleAll(
      Object.fromEntries(
        Array.from({ length: 300 }, (_, n) => [
          n,
          n < 200 ? { waiting: 0, kvUsage: 1 } : { waiting: 40 + (n % 7), kvUsage: 0.01 * (n % 5) },
        ]),
      ),
    );
    const attempt = recordedAttempt(pool, "x");
    expect(attempt.candidates).toHaveLength(DECISION_LIMITS.candidatesMax);
    const { isSame, notes } = replayAttempt(attempt);
    expect(isSame).toBe(true);
    expect(notes[0]).toContain("The record has 64 of 300 candidates");
    const other = replayAttempt(attempt, profileConfig());
    expect(other.notes.join()).toContain("might have chosen one that is not in it");
  });

  it("takes a column that an older document does not have as 0", () => {
    const pool = new TestPool(2);
    pool.sampleAll();
    const document = explain("pool-a", [recordPick(pool, "x")!])!;
    for (const { columns } of document.attempts[0]!.candidates) delete columns!["ejectedUntilMs"];
    const parsed = parseReplayable(JSON.parse(JSON.stringify(document)));
    const { isSame, notes } = replayAttempt((parsed.ok && parsed.value.attempts[0]) as never);
    expect(isSame).toBe(true);
    expect(notes).toEqual([expect.stringContaining("does not say ejectedUntilMs")]);
  });
});
