import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Scorer } from "../../../../src/scheduler/plugin.ts";
import { type EndpointRow, pickContext } from "../../support/pick-context.ts";
import { createScorer } from "../../support/plugins.ts";

const BLOCKS = 100;
/** Of 64 tokens each. */
const REQUEST = { promptTokens: 6_400, outputTokensMax: 600 };
const OUTPUT_RESERVED = 512;
const CAPACITY = 100_000;
const TYPICAL: EndpointRow = { kvCapacityTokens: CAPACITY, prefillMsPerToken: 0.1 };

function create(params: object = {}): Scorer {
  return createScorer("latency-cost-scorer", params);
}

/** Cost in ms of each row, by the score. */
function costs(rows: readonly EndpointRow[], params: object = {}, model = "model-a"): number[] {
  const out = new Float64Array(rows.length);
  const context = pickContext(
    rows.map((row) => ({ ...TYPICAL, ...row })),
    { totalBlocks: BLOCKS, request: { ...REQUEST, model } },
  );
  create({ ...params, scaleMs: 1_000 }).score(context, out);
  return Array.from(out, (score) => 1_000 / score - 1_000);
}

/** Names of the terms that are not zero, with their values, of the only endpoint. */
function terms(row: EndpointRow, params: object = {}): Record<string, number> {
  const scorer = create(params);
  const rows = [{ ...TYPICAL, ...row }];
  const context = pickContext(rows, { totalBlocks: BLOCKS, request: REQUEST });
  scorer.score(context, new Float64Array(1));
  const { names, values } = scorer.terms!;
  const entries = names.map((name, i) => [name, values[i]![0]!] as const);
  return Object.fromEntries(entries.filter(([, value]) => value !== 0));
}

/** Nothing but prefill, which is always there. */
const QUIET = { memoryWeight: 0, decodeMsPerRequest: 0, heldWeight: 1 };

describe("the terms", () => {
  it("are an idle endpoint's prefill and next to nothing for memory", () => {
    const { prefillMs, memoryMs, ...others } = terms({});
    expect(prefillMs).toBeCloseTo(640);
    expect(memoryMs).toBeLessThan(5);
    expect(others).toEqual({});
  });

  it.for<[string, EndpointRow, object, Record<string, number>]>([
    ["prefill of what is not cached", { matchedBlocks: 90 }, QUIET, { prefillMs: 64 }],
    [
      "more of it where it holds up others",
      { matchedBlocks: 90, runningRequests: 50 },
      { ...QUIET, prefillInterference: 0.1 },
      { prefillMs: 384 },
    ],
    [
      "prompts to be computed before",
      { matchedBlocks: 100, prefillBusyMs: 70 },
      QUIET,
      { queueMs: 70 },
    ],
    ["none where they have been computed", { matchedBlocks: 100, prefillBusyMs: -70 }, QUIET, {}],
    [
      "the time until memory is free",
      {
        matchedBlocks: 100,
        kvUsage: 1,
        queueDepth: 2,
        requestTokens: 5_000 - OUTPUT_RESERVED / 2,
        serviceMs: 9_000,
      },
      QUIET,
      { heldMs: 900 },
    ],
    [
      "requests that run and wait",
      { matchedBlocks: 100, runningRequests: 3, queueDepth: 2 },
      { ...QUIET, decodeMsPerRequest: 10 },
      { decodeMs: 50 },
    ],
    [
      "a stale sample",
      { matchedBlocks: 100, ageMs: 1e6 },
      { ...QUIET, staleMs: 7 },
      { staleMs: 7 },
    ],
  ])("count %s", ([, row, params, expected]) => {
    const actual = terms(row, params);
    expect(Object.keys(actual)).toEqual(Object.keys(expected));
    for (const [name, value] of Object.entries(expected)) expect(actual[name]).toBeCloseTo(value);
  });

  it("sum up to the cost", () => {
    const row = { kvUsage: 0.7, runningRequests: 9, queueDepth: 1, prefillBusyMs: 50, ageMs: 1e6 };
    const sum = Object.values(terms(row)).reduce((total, ms) => total + ms, 0);
    expect(costs([row])[0]).toBeCloseTo(sum, 3);
  });

  it("make memory dear as it fills, and where it is held for long", () => {
    const memoryMs = (row: EndpointRow) => terms(row)["memoryMs"]!;
    expect(memoryMs({ kvUsage: 0.8 }) / memoryMs({ kvUsage: 0.4 })).toBeGreaterThan(8);
    const [short, long] = [1_000, 2_000].map((serviceMs) => memoryMs({ kvUsage: 0.5, serviceMs }));
    expect(long! / short!).toBeCloseTo(2);
  });
});

describe("an adapter", () => {
  const lora = (active: string[], waiting: string[], maxActive: number): EndpointRow => ({
    lora: { active, waiting, maxActive },
  });

  it("costs nothing where it is active, a load where there is room, and two where there is none", () => {
    const rows = [
      lora(["sql"], [], 2),
      lora([], ["sql"], 2),
      lora(["a"], [], 2),
      lora(["a"], [], 1),
    ];
    const [active, waiting, room, full] = costs(rows, { adapterMs: 300 }, "sql");
    expect(waiting! - active!).toBeCloseTo(300);
    expect(room! - active!).toBeCloseTo(300);
    expect(full! - active!).toBeCloseTo(600);
  });

  it("is not looked for if nobody has one of that name", () => {
    const [some, other] = costs([lora(["a"], [], 1), lora([], [], 4)], {}, "base");
    expect(some).toBe(other);
  });
});

describe("affinity", () => {
  const holder = { matchedBlocks: 90 };

  it.for<[string, EndpointRow, EndpointRow]>([
    ["slightly busier", { runningRequests: 20, prefillBusyMs: 200 }, {}],
    ["as full as all", { kvUsage: 0.97 }, { kvUsage: 0.97 }],
  ])("stays with a holder that is %s", ([, load, other]) => {
    const [held, cold] = costs([{ ...holder, ...load }, other]);
    expect(held).toBeLessThan(cold!);
  });

  it.for<[string, EndpointRow]>([
    ["whose prompts have queued up", { prefillBusyMs: 900 }],
    ["where a hundred more requests run", { runningRequests: 100 }],
    [
      "whose memory is full and others' is not",
      { kvUsage: 1, queueDepth: 3, requestTokens: 4_000 },
    ],
  ])("leaves a holder %s", ([, load]) => {
    const [held, cold] = costs([{ ...holder, ...load }, { kvUsage: 0.3 }]);
    expect(held).toBeGreaterThan(cold!);
  });
});

describe("cold prompts", () => {
  it("go to whoever has computed the fewest cold tokens", () => {
    const [first, second] = costs([{ coldTokens: 12_800 }, { coldTokens: 6_400 }], {
      spreadMs: 50,
    });
    expect(first! - second!).toBeCloseTo(50);
  });

  it("count no more than eight prompts ahead", () => {
    const [far, , near] = costs([{ coldTokens: 1e9 }, {}, { coldTokens: 8 * 6_400 }]);
    expect(far).toBe(near);
  });

  it("are not spread over caches that do not keep them", () => {
    const ahead = (least: number) => {
      const rows = [{ coldTokens: least + 6_400 }, { coldTokens: least }];
      const [first, second] = costs(rows, { spreadMs: 50 });
      return first! - second!;
    };
    expect(ahead(CAPACITY)).toBeCloseTo(50);
    expect(ahead(2 * CAPACITY)).toBeCloseTo(12.5);
  });

  it("do not care where the prompt is cached", () => {
    const rows = [
      { coldTokens: 12_800, matchedBlocks: 100 },
      { coldTokens: 0, matchedBlocks: 100 },
    ];
    const [first, second] = costs(rows);
    expect(first).toBe(second);
  });
});

const row: fc.Arbitrary<EndpointRow> = fc.record({
  matchedBlocks: fc.nat(BLOCKS),
  queueDepth: fc.nat(20),
  runningRequests: fc.nat(200),
  kvUsage: fc.double({ min: 0, max: 1, noNaN: true }),
  kvCapacityTokens: fc.constantFrom(0, CAPACITY, 3 * CAPACITY),
  prefillBusyMs: fc.integer({ min: -100, max: 30_000 }),
  prefillMsPerToken: fc.double({ min: 0.001, max: 10, noNaN: true }),
  serviceMs: fc.nat(600_000),
  requestTokens: fc.nat(20_000),
  coldTokens: fc.nat(1_000_000),
});
const rows = fc.array(row, { minLength: 1, maxLength: 8 });

describe("whatever the pool looks like", () => {
  const LOADS = [
    "queueDepth",
    "runningRequests",
    "kvUsage",
    "prefillBusyMs",
    "requestTokens",
  ] as const;

  it.for(LOADS)("more %s never makes an endpoint cheaper, nor others dearer", (load) => {
    fc.assert(
      fc.property(
        rows,
        fc.nat(7),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (before, at, more) => {
          const slot = at % before.length;
          const added =
            load === "kvUsage" ? more * (1 - before[slot]!.kvUsage!) : Math.ceil(more * 50);
          const after = before.map((each, i) =>
            i === slot ? { ...each, [load]: each[load]! + added } : each,
          );
          const [was, is] = [costs(before), costs(after)];
          expect(is[slot]!).toBeGreaterThanOrEqual(was[slot]! * (1 - 1e-9));
          expect(is.toSpliced(slot, 1)).toEqual(was.toSpliced(slot, 1));
        },
      ),
    );
  });

  it("a longer match never makes an endpoint dearer", () => {
    fc.assert(
      fc.property(rows, fc.nat(7), fc.nat(BLOCKS), (before, at, more) => {
        const slot = at % before.length;
        const matchedBlocks = Math.min(BLOCKS, before[slot]!.matchedBlocks! + more);
        const after = before.map((each, i) => (i === slot ? { ...each, matchedBlocks } : each));
        const was = costs(before)[slot]!;
        expect(costs(after)[slot]!).toBeLessThanOrEqual(was + was * 1e-9);
      }),
    );
  });
});
