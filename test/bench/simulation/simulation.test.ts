import { describe, expect, it } from "vitest";
import type { Policy, PolicyDefinition, RoutedRequest } from "../../../bench/simulation/policy.ts";
import { DEFAULT_SHAPE, type PoolShape } from "../../../bench/simulation/pool-shape.ts";
import { simulate } from "../../../bench/simulation/simulation.ts";
import {
  fullBlocks,
  type Phase,
  type Session,
  type WorkloadRequest,
} from "../../../bench/simulation/workload.ts";

/** 24 ms a step, 1 ms a prompt token, and nothing else. */
const SHAPE: PoolShape = {
  ...DEFAULT_SHAPE,
  endpointCount: 2,
  engine: {
    ...DEFAULT_SHAPE.engine,
    blockCount: 1_000,
    modelLengthMax: 10_000,
    waitingMax: 0,
    sequencesMax: 2,
    timing: {
      ...DEFAULT_SHAPE.engine.timing,
      prefillMsPerToken: 1,
      roofline: { stepMs: 24, decodeMsPerSequence: 0, decodeMsPerContextToken: 0 },
    },
  },
  network: { toEngineMs: 10, toClientMs: 5, reportMs: 3 },
};

let names = 0;
function request(promptTokens = 100, outputTokens = 11): WorkloadRequest {
  const count = fullBlocks(promptTokens + outputTokens);
  const blocks = Int32Array.from({ length: count }, () => names++);
  return { promptTokens, outputTokens, outputTokensMax: null, blocks };
}

const alone = (startMs: number): Session => ({
  startMs,
  turns: [{ request: request(), delayMs: 0 }],
});
const phase = (sessions: Session[], from = 0, until = Infinity): Phase => ({
  sessions,
  measuredFromMs: from,
  measuredUntilMs: until,
});

/** A policy that writes down what it is told. */
function watch(choose: Policy["choose"]) {
  const told: string[] = [];
  const policy: PolicyDefinition = {
    name: "watched",
    about: "",
    create: () => ({
      choose: (asked, nowMs) => {
        told.push(`choose ${asked.index} ${nowMs}`);
        return choose(asked, nowMs);
      },
      dispatched: ({ index }, slot, nowMs) => told.push(`dispatched ${index} ${slot} ${nowMs}`),
      firstToken: ({ index }, slot, nowMs) => told.push(`first ${index} ${slot} ${nowMs}`),
      finished: ({ index }, slot, how, nowMs) =>
        told.push(`finished ${index} ${slot} ${nowMs} ttft ${how.ttftMs}`),
      shed: ({ index }, slot, nowMs) => told.push(`shed ${index} ${slot} ${nowMs}`),
    }),
  };
  return { told, policy };
}

const run = (policy: PolicyDefinition, phases: Phase[]) =>
  simulate({ shape: SHAPE, policy, phases, seed: 1 });

describe("a request", () => {
  it("takes the network's and the engine's time, and word of it comes later", () => {
    const { told, policy } = watch(() => [1]);
    const { outcomes } = run(policy, [phase([alone(0)])]);
    // Prefill takes 24 + 100 ms, each of ten more tokens 24.
    expect(told).toEqual([
      "choose 0 1000",
      "dispatched 0 1 1013",
      "first 0 1 1137",
      "finished 0 1 1377 ttft 134",
    ]);
    expect(outcomes).toEqual([
      {
        tenant: "t0",
        priority: 0,
        sentAtMs: 1_000,
        waitMs: 0,
        endedAtMs: 1_379,
        ttftMs: 139,
        tpotMs: 24,
        promptTokens: 100,
        cachedTokens: 0,
        outputTokens: 11,
        isShed: false,
      },
    ]);
  });

  it("is tried at the next endpoint when the queue is full, and shed when all are", () => {
    const { told, policy } = watch(() => [0, 1]);
    const { outcomes } = run(policy, [phase(Array.from({ length: 5 }, () => alone(0)))]);
    const slots = told.filter((line) => line.startsWith("dispatched")).map((line) => line[13]);
    expect(slots).toEqual(["0", "0", "1", "1"]);
    expect(told).toContain("shed 4 1 1020");
    expect(outcomes.filter(({ isShed }) => isShed)).toMatchObject([{ ttftMs: Infinity }]);
  });

  it("is shed when the policy names nobody, of which it is not told", () => {
    const { told, policy } = watch(() => []);
    expect(run(policy, [phase([alone(0)])]).outcomes).toMatchObject([{ isShed: true }]);
    expect(told).toEqual(["choose 0 1000"]);
  });

  it("finds at an engine what was computed there", () => {
    const first = request(320);
    const turns = [
      { request: first, delayMs: 0 },
      { request: { ...request(640), blocks: first.blocks.slice() }, delayMs: 0 },
    ];
    const again = Int32Array.from([...first.blocks, ...request(640).blocks]);
    turns[1]!.request = { ...request(640), blocks: again.slice(0, fullBlocks(651)) };
    for (const [slots, cachedTokens] of [
      [[0, 0], 320],
      [[0, 1], 0],
    ] as const) {
      let at = 0;
      const { policy } = watch(() => [slots[at++]!]);
      const { outcomes } = run(policy, [phase([{ startMs: 0, turns }])]);
      expect(outcomes[1]!.cachedTokens).toBe(cachedTokens);
    }
  });
});

describe("sessions and phases", () => {
  it("send a turn when the answer is there and the pause is over", () => {
    const { told, policy } = watch(() => [0]);
    const turns = [
      { request: request(), delayMs: 0 },
      { request: request(), delayMs: 500 },
    ];
    run(policy, [phase([{ startMs: 100, turns }])]);
    const chosen = told.filter((line) => line.startsWith("choose"));
    // The first answer takes 10 + 124 + 240 + 5 ms.
    expect(chosen).toEqual(["choose 0 1100", `choose 1 ${1_100 + 379 + 500}`]);
  });

  it("begin when the phase before has ended, and count only in their window", () => {
    const { told, policy } = watch(() => [0]);
    const warmUp = phase([alone(0), alone(2_000)], Infinity);
    const stage = phase([alone(0), alone(1_000), alone(3_000)], 500, 3_000);
    const { outcomes } = run(policy, [warmUp, stage]);
    const stageMs = 1_000 + 2_000 + 379 + 1_000;
    expect(told.filter((line) => line.startsWith("choose 2"))).toEqual([`choose 2 ${stageMs}`]);
    expect(outcomes.map(({ sentAtMs }) => sentAtMs)).toEqual([stageMs + 1_000]);
  });

  it("are the same in each run", () => {
    const sessions = [alone(0), alone(3), alone(30)];
    const runs = [1, 2].map(() => run(watch(() => [1, 0]).policy, [phase(sessions)]));
    expect(runs[0]).toEqual(runs[1]);
  });
});

describe("samples", () => {
  it("show an engine as it was, at the scrape interval, endpoints apart", () => {
    const samples: unknown[] = [];
    const policy: PolicyDefinition = {
      name: "sampled",
      about: "",
      create: () => ({
        choose: () => [0],
        sampled: (slot, { running, kvUsage }, sampledAtMs, nowMs) =>
          samples.push([slot, running, kvUsage, sampledAtMs, nowMs]),
      }),
    };
    run(policy, [phase([alone(0)])]);
    // Before the request, in its prefill (7 blocks of 16), and before it ends.
    expect(samples.filter((sample) => (sample as number[])[3]! >= 900).slice(0, 5)).toEqual([
      [1, 0, 0, 900, 903],
      [0, 0, 0, 1_000, 1_003],
      [1, 0, 0, 1_100, 1_103],
      [0, 1, 7 / 1_000, 1_200, 1_203],
      [1, 0, 0, 1_300, 1_303],
    ]);
  });
});

describe("a policy that lets requests wait", () => {
  /** Sends each when the next sample comes, and refuses the second. */
  const late: PolicyDefinition = {
    name: "late",
    about: "",
    create({ outlet }) {
      const waiting: RoutedRequest[] = [];
      return {
        choose: (asked) => void waiting.push(asked),
        sampled() {
          for (const asked of waiting.splice(0))
            if (asked.index === 1) outlet.refuse(asked);
            else outlet.send(asked, [0]);
        },
      };
    },
  };

  it("decides later, and the wait counts", () => {
    // The sample of 1,100 arrives 3 ms later.
    const { outcomes } = run(late, [
      phase([{ ...alone(10), tenant: "a", priority: 7 }, alone(20)]),
    ]);
    expect(outcomes).toMatchObject([
      { tenant: "t1", waitMs: 83, isShed: true },
      { tenant: "a", priority: 7, waitMs: 93, ttftMs: 93 + 139, isShed: false },
    ]);
  });

  it("must not decide twice", () => {
    const twice: PolicyDefinition = {
      ...late,
      create: ({ outlet }) => ({
        choose(asked) {
          outlet.send(asked, [0]);
          outlet.refuse(asked);
          return undefined;
        },
      }),
    };
    expect(() => run(twice, [phase([alone(0)])])).toThrow("decided twice");
  });
});
