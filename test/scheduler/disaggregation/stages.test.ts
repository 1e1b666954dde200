import { describe, expect, it } from "vitest";
import { StagedProfiles, type StageOptions } from "../../../src/scheduler/disaggregation/stages.ts";
import { FixedDecider, runHandler } from "../support/handlers.ts";

const PROFILES = { decode: "decode", prefill: "prefill", encode: "encode" };
const yes = () => new FixedDecider(true);
const no = () => new FixedDecider(false);
const FOUND = { decode: 0, prefill: 1, encode: 2 };

function handler(overrides: Partial<StageOptions> = {}): StagedProfiles {
  return new StagedProfiles({
    order: "decode-first",
    configured: ["decode", "prefill", "encode"],
    profiles: PROFILES,
    deciders: { prefill: yes(), encode: yes() },
    ...overrides,
  });
}

describe("decode-first", () => {
  it.for([
    {
      name: "all stages",
      deciders: { encode: yes(), prefill: yes() },
      want: ["decode", "encode", "prefill"],
    },
    {
      name: "encode alone",
      deciders: { encode: yes(), prefill: no() },
      want: ["decode", "encode"],
    },
    {
      name: "prefill alone",
      deciders: { encode: no(), prefill: yes() },
      want: ["decode", "prefill"],
    },
    { name: "decode alone", deciders: { encode: no(), prefill: no() }, want: ["decode"] },
    { name: "no stage without a decider", deciders: {}, want: ["decode"] },
  ])("runs $name", ({ deciders, want }) => {
    const { ran, stages } = runHandler(handler({ deciders }), FOUND);
    expect(ran).toEqual(want);
    const stagesRun = Object.fromEntries(want.slice(1).map((stage) => [stage, stage]));
    expect(stages).toEqual({ primary: "decode", ...stagesRun });
  });

  it("asks deciders about the decode endpoint", () => {
    const prefill = yes();
    const encode = no();
    runHandler(handler({ deciders: { prefill, encode } }), { ...FOUND, decode: 2 });
    expect(prefill.asked).toEqual([2]);
    expect(encode.asked).toEqual([2]);
  });

  it("runs no stage that has no profile", () => {
    const { ran } = runHandler(handler({ configured: ["decode", "prefill"] }), FOUND);
    expect(ran).toEqual(["decode", "prefill"]);
  });

  it("stops without a decode endpoint, in llm-d's words", () => {
    const { ran, stages } = runHandler(handler(), { ...FOUND, decode: -1 });
    expect(ran).toEqual(["decode"]);
    expect(stages).toBe("failed to find available decode workers");
    const none = runHandler(handler({ configured: ["prefill"] }), FOUND);
    expect(none).toEqual({ ran: [], stages: "failed to find available decode workers" });
  });

  it("serves without a stage that found nobody", () => {
    const { stages } = runHandler(handler(), { decode: 0, prefill: -1, encode: -1 });
    expect(stages).toEqual({ primary: "decode" });
  });

  it("leaves prefill out where the decode endpoint would do it", () => {
    const { stages } = runHandler(handler(), { decode: 1, prefill: 1, encode: 2 });
    expect(stages).toEqual({ primary: "decode", encode: "encode" });
  });

  it("leaves encode out where the endpoint that computes the prompt would do it", () => {
    const alone = handler({ deciders: { encode: yes() } });
    expect(runHandler(alone, { ...FOUND, encode: 0 }).stages).toEqual({ primary: "decode" });
    expect(runHandler(handler(), { ...FOUND, encode: 1 }).stages).not.toHaveProperty("encode");
    expect(runHandler(handler(), { ...FOUND, encode: 0 }).stages).toHaveProperty("encode");
  });

  it("tells what deciders said, of one decision at a time", () => {
    const terms = { names: ["localMs"], values: Float64Array.of(7) };
    const prefill = Object.assign(no(), { verdictTerms: terms });
    const staged = handler({ deciders: { encode: yes(), prefill } });
    const want = [
      { stage: "encode", isApart: true },
      { stage: "prefill", isApart: false, terms },
    ];
    for (let i = 0; i < 2; i++) expect(runHandler(staged, FOUND).verdicts).toEqual(want);
    expect(runHandler(handler({ deciders: {} }), FOUND)).not.toHaveProperty("verdicts");
  });

  it("names the port that dispatches to ranks", () => {
    const { stages } = runHandler(handler({ deciders: {}, dataParallelPort: 8000 }), FOUND);
    expect(stages).toEqual({ primary: "decode", dataParallelPort: 8000 });
  });
});

describe("prefill-first", () => {
  const first = (overrides: Partial<StageOptions> = {}) =>
    handler({ order: "prefill-first", deciders: { encode: yes() }, ...overrides });

  it("runs prefill without asking, and decode last", () => {
    const { ran, stages } = runHandler(first(), FOUND);
    expect(ran).toEqual(["prefill", "encode", "decode"]);
    expect(stages).toEqual({ primary: "decode", prefill: "prefill", encode: "encode" });
  });

  it("asks about encode before there is a decode endpoint", () => {
    const encode = no();
    expect(runHandler(first({ deciders: { encode } }), FOUND).ran).toEqual(["prefill", "decode"]);
    expect(encode.asked).toEqual([-1]);
  });

  it("serves where nobody prefills", () => {
    const { ran, stages } = runHandler(first({ deciders: {} }), { decode: 0, prefill: -1 });
    expect(ran).toEqual(["prefill", "decode"]);
    expect(stages).toEqual({ primary: "decode" });
  });

  it("fails without a decode endpoint or profile", () => {
    const failure = "failed to find available decode workers";
    expect(runHandler(first(), { ...FOUND, decode: -1 }).stages).toBe(failure);
    expect(runHandler(first({ configured: ["prefill"] }), FOUND)).toEqual({
      ran: [],
      stages: failure,
    });
  });
});
