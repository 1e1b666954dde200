import { describe, expect, it } from "vitest";
import {
  type EndpointRow,
  pickContext,
  type PickContextOptions,
} from "../../support/pick-context.ts";
import { createScorer } from "../../support/plugins.ts";

/** Of 64 tokens each. */
const BLOCKS = 100;
const REQUEST = { promptTokens: 6_400, outputTokensMax: 600 };
const OUTPUT_RESERVED = 512;

interface Scored {
  readonly costs: number[];
  readonly terms: Record<string, number>[];
}

function scored(
  rows: readonly EndpointRow[],
  params: object = {},
  options: PickContextOptions = {},
): Scored {
  const scorer = createScorer("pool-cost-scorer", { scaleMs: 1_000, ...params });
  const pools = rows.map((row) => ({ pool: {}, ...row }));
  const context = pickContext(pools, { totalBlocks: BLOCKS, request: REQUEST, ...options });
  const out = new Float64Array(rows.length);
  scorer.score(context, out);
  const { names, values } = scorer.terms!;
  return {
    costs: Array.from(out, (score) => 1_000 / score - 1_000),
    terms: rows.map((_, i) => Object.fromEntries(names.map((name, at) => [name, values[at]![i]!]))),
  };
}

/** Of one pool, those that are not 0. */
function terms(row: EndpointRow, params: object = {}): Record<string, number> {
  const [only] = scored([row], params).terms;
  return Object.fromEntries(Object.entries(only!).filter(([, value]) => value !== 0));
}

const QUIET = { pool: { rttMs: 0 }, matchedBlocks: BLOCKS };

describe("the terms", () => {
  it.for<[string, EndpointRow, object, Record<string, number>]>([
    ["the way there, twice", { ...QUIET, pool: { rttMs: 30 } }, {}, { rttMs: 60 }],
    [
      "as often as is asked for",
      { ...QUIET, pool: { rttMs: 30 } },
      { roundTrips: 1 },
      { rttMs: 30 },
    ],
    ["what the pool predicts", { ...QUIET, pool: { rttMs: 0, waitMs: 70 } }, {}, { waitMs: 70 }],
    [
      "what was sent since",
      { ...QUIET, pool: { rttMs: 0, waitMs: 70, creditMs: 9 } },
      {},
      { waitMs: 79 },
    ],
    [
      "no less than no wait, whatever was worked off",
      { ...QUIET, pool: { rttMs: 0, waitMs: 70, creditMs: -90 } },
      {},
      {},
    ],
    ["nothing for a load of a second ago", { ...QUIET, ageMs: 1_000 }, {}, {}],
    ["a tenth of what a load is older", { ...QUIET, ageMs: 1_500 }, {}, { waitMs: 50 }],
    [
      "as much of it as is asked for",
      { ...QUIET, ageMs: 1_500 },
      { staleShare: 1 },
      { waitMs: 500 },
    ],
    ["no more than ten seconds' worth", { ...QUIET, ageMs: Infinity }, {}, { waitMs: 900 }],
    ["prefill of what is not cached", { ...QUIET, matchedBlocks: 90 }, {}, { prefillMs: 64 }],
    [
      "prefill at the pool's speed",
      { ...QUIET, matchedBlocks: 90, prefillMsPerToken: 0.5 },
      {},
      { prefillMs: 320 },
    ],
    [
      "the price of prompt and expected answer",
      { ...QUIET, pool: { rttMs: 0, inputMsPer1kTokens: 10, outputMsPer1kTokens: 100 } },
      {},
      { priceMs: 64 + 51.2 },
    ],
    ["what policy adds", { ...QUIET, pool: { rttMs: 0, extraMs: 40 } }, {}, { extraMs: 40 }],
    [
      "rent of KV memory",
      { ...QUIET, kvUsage: 0.5, kvCapacityTokens: 8 * 102_400, serviceMs: 10_000 },
      { memoryWeight: 1 },
      { memoryMs: (OUTPUT_RESERVED / 102_400) * 10_000 * 0.5 },
    ],
    [
      "that of a full pool as of one that is nearly full",
      { ...QUIET, kvUsage: 1, kvCapacityTokens: 8 * 102_400, serviceMs: 10_000 },
      { memoryWeight: 1 },
      { memoryMs: (OUTPUT_RESERVED / 102_400) * 10_000 * (0.98 ** 2 / 0.02) },
    ],
  ])("are %s", ([, row, params, expected]) => {
    const { affinityMs: _, ...given } = terms(row, params);
    expect(Object.keys(given).sort()).toEqual(Object.keys(expected).sort());
    for (const [name, value] of Object.entries(expected)) expect(given[name]).toBeCloseTo(value);
  });

  it("add up to the cost, less what each would have to compute", () => {
    const { costs, terms: all } = scored([
      { pool: { rttMs: 7, waitMs: 90, extraMs: 3 }, matchedBlocks: 3, ageMs: 700 },
      { pool: { rttMs: 50, creditMs: 8 }, kvUsage: 0.7 },
    ]);
    const common = Math.min(...all.map(({ prefillMs }) => prefillMs!));
    expect(common).toBeGreaterThan(0);
    all.forEach((each, i) => {
      const sum = Object.values(each).reduce((a, b) => a + b);
      expect(costs[i]).toBeCloseTo(sum - common);
    });
  });

  it("are nothing where slots are no pools", () => {
    const scorer = createScorer("pool-cost-scorer");
    const out = new Float64Array(2);
    scorer.score(pickContext([{}, {}]), out);
    expect([...out]).toEqual([1, 1]);
  });
});

describe("affinity", () => {
  const rows = Array.from({ length: 6 }, () => ({}));
  const drawn = ({ terms: all }: Scored) =>
    all.flatMap(({ affinityMs }, i) => (affinityMs === 0 ? [i] : []));
  const session = { source: "header", low: 5, high: 9 } as const;
  const keys = (first: number) => {
    const all = new Uint32Array(2 * BLOCKS).fill(1);
    all[0] = first;
    return { request: { ...REQUEST, keys: all } };
  };

  it("is for nobody where there is neither a session nor a whole block", () => {
    const none = { totalBlocks: 0, request: { promptTokens: 10 } };
    expect(drawn(scored(rows, {}, none))).toEqual([0, 1, 2, 3, 4, 5]);
  });

  it("adds to the cost of all pools but the one that is drawn", () => {
    const { terms: all } = scored(rows, {}, { ...keys(3), policy: { affinityMs: 40 } });
    const values = all.map(({ affinityMs }) => affinityMs!).toSorted((a, b) => a - b);
    expect(values).toEqual([0, 40, 40, 40, 40, 40]);
    const own = scored(rows, { affinityMs: 7 }, keys(3)).terms.map((each) => each["affinityMs"]);
    expect(Math.max(...(own as number[]))).toBe(7);
  });

  it("draws by the session, and by the first block where there is none", () => {
    const draws = new Set<number>();
    for (let first = 0; first < 40; first++) {
      const [one] = drawn(scored(rows, {}, keys(first)));
      draws.add(one!);
      expect(drawn(scored(rows, {}, { ...keys(first), session }))).toEqual(
        drawn(scored(rows, {}, { session })),
      );
    }
    expect(draws.size).toBe(6);
  });

  it("draws to whoever holds the most", () => {
    for (const holder of [0, 3, 5]) {
      const held = rows.map((row, i) => ({ ...row, matchedBlocks: i === holder ? 4 : 3 }));
      expect(drawn(scored(held, {}, keys(1)))).toEqual([holder]);
      expect(drawn(scored(held, {}, { session }))).toEqual([holder]);
    }
  });
});
