// Decisions of several profiles: what is kept of each, and how it is told.

import { describe, expect, it } from "vitest";
import { schedulerConfigSchema } from "../../../src/scheduler/config/schema.ts";
import type { SchedulerConfig } from "../../../src/scheduler/config/scheduler-config.ts";
import { explanationSchema } from "../../../src/scheduler/decisions/document.ts";
import { explain } from "../../../src/scheduler/decisions/explain.ts";
import { DECISION_LIMITS, type DecisionRecord } from "../../../src/scheduler/decisions/record.ts";
import { DecisionRecorder } from "../../../src/scheduler/decisions/recorder.ts";
import { replayAttempt } from "../../../src/scheduler/decisions/replay.ts";
import { parseReplayable } from "../../../src/scheduler/decisions/replay-document.ts";
import { DecisionRing } from "../../../src/scheduler/decisions/ring.ts";
import { EndpointTable } from "../../../src/scheduler/model/endpoint-table.ts";
import type { NarrowingContext } from "../../../src/scheduler/plugin.ts";
import { pickContext } from "../support/pick-context.ts";

const PROFILES = ["decode", "prefill", "encode"] as const;

/** Written by hand: what a recorder is told does not depend on which handler runs the profiles. */
function threeProfiles(): SchedulerConfig {
  const plain = schedulerConfigSchema.parse({});
  const spec = (name: string, type: string) => ({ name, type, parameters: {} });
  const plugins = [spec("fresh", "metrics-freshness-filter"), spec("shortest", "queue-scorer")];
  const refs = [{ pluginRef: "fresh" }, { pluginRef: "shortest", weight: 2 }];
  return {
    ...plain,
    plugins: [...plugins, ...plain.plugins],
    schedulingProfiles: PROFILES.map((name) => ({
      name,
      plugins: [...refs, { pluginRef: "max-score-picker" }],
    })),
  };
}

const ROWS = [{ queueDepth: 1 }, { queueDepth: 2 }, { queueDepth: 3 }, { queueDepth: 4 }];

/** What an EndpointPicker tells a recorder, step by step. */
class ToldPick {
  readonly ring = new DecisionRing();
  readonly recorder = new DecisionRecorder(this.ring);
  readonly table = new EndpointTable();
  readonly context: NarrowingContext;
  readonly config = threeProfiles();

  constructor(rows: readonly object[] = ROWS) {
    this.context = pickContext(rows);
    for (let slot = 0; slot < rows.length; slot++) {
      const address = `10.0.0.${slot}:80`;
      this.table.add({ id: `default/e${slot}`, address, engine: "vllm", labels: { n: `${slot}` } });
    }
    this.recorder.considered(this.context);
  }

  /** A profile that keeps `kept` and chooses `chosen`; its scorer gives `score` to each slot. */
  run(profile: string, kept: readonly number[], chosen: readonly number[], score = 0.5): void {
    const { recorder, context } = this;
    context.profile = profile;
    const watcher = recorder.began(context);
    context.candidates.set(kept);
    context.candidateCount = kept.length;
    watcher.filtered(context.candidates, kept.length);
    const scores = Float64Array.from(kept, (slot) => score / (slot + 1));
    const halves = scores.map((value) => value / 2);
    if (kept.length > 0)
      watcher.scored(context, scores, { names: ["waitMs", "prefillMs"], values: [halves, scores] });
    const totals = scores.map((value) => value * 2);
    recorder.picked(context, totals, Int32Array.from(chosen));
  }

  finish(dropped?: DecisionRecord["dropped"]): DecisionRecord {
    const facts = { attempt: 0, configVersion: 1, scheduler: this.config, seed: 1 };
    this.recorder.finish(this.table, { ...facts, ...(dropped === undefined ? {} : { dropped }) });
    return this.ring.find("request-1")[0]!;
  }
}

function explained(record: DecisionRecord) {
  const text = JSON.stringify(explain("pool-a", [record]));
  return explanationSchema.parse(JSON.parse(text)).attempts[0]!;
}

describe("a decision of several profiles", () => {
  it("keeps each profile's answers and what its choice was for", () => {
    const pick = new ToldPick();
    pick.run("prefill", [0, 1], [1, 0]);
    pick.run("decode", [2, 3], [2], 1);
    pick.run("encode", [0, 1, 2, 3], [3]);
    pick.recorder.staged({ primary: "decode", prefill: "prefill" });
    const { runs } = pick.finish();
    expect(runs).toMatchObject([
      { profile: "prefill", role: "prefill", chosen: [1, 0], filters: [{ removed: 2 }] },
      { profile: "decode", role: "primary", chosen: [2] },
      { profile: "encode", role: "none", chosen: [3] },
    ]);
    expect(runs[0]!.rows.map(({ total }) => total)).toEqual([1, 0.5, NaN, NaN]);
    expect(runs[1]!.rows.map(({ removedBy }) => removedBy)).toEqual([0, 0, -1, -1]);
    expect(runs[1]!.scorers).toEqual([{ name: "shortest", type: "queue-scorer", weight: 2 }]);
  });

  it("is told as the primary profile's, with the others as stages", () => {
    const pick = new ToldPick();
    pick.run("prefill", [0, 1], [1]);
    pick.run("decode", [2, 3], [3], 1);
    pick.recorder.staged({ primary: "decode", prefill: "prefill" });
    const attempt = explained(pick.finish());
    expect(attempt).toMatchObject({
      profile: "decode",
      role: "primary",
      ran: ["prefill", "decode"],
      chosen: ["10.0.0.3:80"],
      filters: [{ type: "metrics-freshness-filter", name: "fresh", removed: 2 }],
      stages: [{ profile: "prefill", role: "prefill", chosen: ["10.0.0.1:80"] }],
    });
    expect(attempt.candidates[0]).toMatchObject({ id: "default/e3", rank: 1, why: "chosen" });
    const inPrefill = attempt.stages![0]!.candidates;
    expect(inPrefill.map(({ id, rank, why }) => [id, rank, why])).toEqual([
      ["default/e0", 2, "not drawn, though its total is as good"],
      ["default/e1", 1, "chosen"],
      ["default/e2", null, "removed by fresh"],
      ["default/e3", null, "removed by fresh"],
    ]);
  });

  it("keeps what scores are made of", () => {
    const pick = new ToldPick();
    pick.run("decode", [1, 3], [1], 1);
    pick.recorder.staged({ primary: "decode" });
    const { candidates } = explained(pick.finish());
    const termsOf = Object.fromEntries(candidates.map(({ id, terms }) => [id, terms]));
    expect(termsOf["default/e3"]).toEqual({ shortest: { waitMs: 0.125, prefillMs: 0.25 } });
    expect(termsOf["default/e0"]).toBeUndefined();
  });

  it("names who a screener left out, and no profile sees them", () => {
    const pick = new ToldPick();
    const record = (() => {
      pick.recorder.screened(Uint8Array.of(1, 0, 1, 1));
      pick.run("decode", [2, 3], [2]);
      pick.recorder.staged({ primary: "decode" });
      return pick.finish();
    })();
    expect(record.candidates.map(({ screenedBy }) => screenedBy)).toEqual([-1, 0, -1, -1]);
    expect(record.runs[0]!.filters).toMatchObject([{ removed: 1 }]);
    expect(record.runs[0]!.rows.map(({ removedBy }) => removedBy)).toEqual([0, -1, -1, -1]);
  });

  it("keeps who was considered where no profile ran, and the sentence", () => {
    const dropped = { reason: "rejected-saturated", detail: "the SLO cannot be met" } as const;
    const attempt = explained(new ToldPick().finish(dropped));
    expect(attempt).toMatchObject({ dropped, chosen: [], ran: [], candidateCount: 4 });
    expect(attempt.candidates.map(({ why }) => why)).toEqual(Array(4).fill("no profile ran"));
  });

  it("follows a filter that changes the order of candidates", () => {
    const pick = new ToldPick();
    pick.run("decode", [3, 0, 2], [3], 1);
    pick.recorder.staged({ primary: "decode" });
    const { rows, filters } = pick.finish().runs[0]!;
    expect(filters).toMatchObject([{ removed: 1 }]);
    expect(rows.map(({ removedBy }) => removedBy)).toEqual([-1, 0, -1, -1]);
    expect(rows.map(({ total }) => total)).toEqual([2, NaN, 2 / 3, 0.5]);
  });

  it("keeps the chosen of every profile of a large pool, and the best of each", () => {
    const count = 500;
    const pick = new ToldPick(Array.from({ length: count }, () => ({})));
    const slots = Array.from({ length: count }, (_, slot) => slot);
    // The later slots have the lower totals in both.
    pick.run("prefill", slots.slice(0, 250), [249], 1);
    pick.run("decode", slots.slice(250), [499], 1);
    pick.recorder.staged({ primary: "decode", prefill: "prefill" });
    const { candidates, candidateCount, runs } = pick.finish();
    const kept = candidates.map(({ slot }) => slot);
    expect(candidateCount).toBe(count);
    expect(kept).toHaveLength(DECISION_LIMITS.candidatesMax);
    expect(kept).toEqual(expect.arrayContaining([249, 499, 0, 250]));
    expect(runs.map(({ chosen }) => kept[chosen[0]!])).toEqual([249, 499]);
  });

  it("has no totals of a profile whose scores it had no room for", () => {
    const pick = new ToldPick();
    const { recorder, context } = pick;
    for (const profile of PROFILES) {
      context.profile = profile;
      const watcher = recorder.began(context);
      for (let s = 0; s < 16; s++) watcher.scored(context, new Float64Array(4).fill(1));
      recorder.picked(context, new Float64Array(4), Int32Array.of(0));
    }
    recorder.staged({ primary: "decode", encode: "encode" });
    const { runs } = pick.finish();
    expect(runs[2]).toMatchObject({ profile: "encode", role: "encode", scorers: [], chosen: [0] });
    expect(runs[2]!.rows[0]!.total).toBeNaN();
    expect(16 * PROFILES.length).toBeGreaterThan(DECISION_LIMITS.scoresMax);
  });

  it("is read again from its document, its stages in the order they ran", () => {
    const pick = new ToldPick();
    pick.run("prefill", [0, 1], [1]);
    pick.run("decode", [2, 3], [3], 1);
    pick.recorder.staged({ primary: "decode", prefill: "prefill" });
    const document = explain("pool-a", [pick.finish()]);
    const parsed = parseReplayable(JSON.parse(JSON.stringify(document)), () => ({
      ok: true,
      value: pick.config,
    }));
    if (!parsed.ok) throw new Error(JSON.stringify(parsed.issues));
    const [attempt] = parsed.value.attempts;
    expect(attempt!.runs.map(({ profile, role }) => [profile, role])).toEqual([
      ["prefill", "prefill"],
      ["decode", "primary"],
    ]);
    expect(attempt!.candidates.find(({ slot }) => slot === 2)!.labels).toEqual({ n: "2" });
    // The one handler there runs the first profile only, so the replay notices that prefill is gone.
    expect(replayAttempt(attempt!).isSame).toBe(false);
  });
});
