import { describe, expect, it } from "vitest";
import type { CachePrediction } from "../../../src/durable/kv/cache-prediction.ts";
import {
  compare,
  COMPARED_TTFT_MS_MAX,
  type ServedEnd,
} from "../../../src/durable/kv/prediction.ts";

/** Ten content blocks of 50 tokens in a prompt of forty. */
const PREDICTION: CachePrediction = {
  slot: 3,
  blocks: 10,
  totalBlocks: 40,
  tokens: 500,
  approximateBlocks: 10,
  life: 1,
};
const END: ServedEnd = {
  slot: 3,
  isPromptCached: true,
  ttftMs: 100,
  promptTokens: 2_000,
  cachedTokens: 500,
  failedCount: 0,
};
const BLOCK = 64;
const tokensUpTo = (blocks: number) => blocks * 50;
const judge = (
  prediction: Partial<CachePrediction>,
  end: Partial<ServedEnd>,
  at: { life?: number; isExact?: boolean; upTo?: typeof tokensUpTo | (() => undefined) } = {},
) =>
  compare(
    { ...PREDICTION, ...prediction },
    { ...END, ...end },
    { life: at.life ?? 1, isExact: at.isExact ?? true, tokensUpTo: at.upTo ?? tokensUpTo },
  );

describe("a prediction", () => {
  it.for([
    { name: "exact", cachedTokens: 500, verdict: "right", errorTokens: 0 },
    { name: "within the block that follows", cachedTokens: 550, verdict: "right", errorTokens: 0 },
    { name: "a block less", cachedTokens: 551 + 1, verdict: "right", errorTokens: -2 },
    { name: "at most a block less", cachedTokens: 550 + BLOCK, verdict: "right" },
    { name: "more than a block less", cachedTokens: 551 + BLOCK, verdict: "under" },
    { name: "at most a block more", cachedTokens: 500 - BLOCK, verdict: "right" },
    { name: "more than a block more", cachedTokens: 499 - BLOCK, verdict: "over" },
    { name: "of what is not there", cachedTokens: 0, verdict: "over", errorTokens: 500 },
  ])("is judged by content blocks: $name", ({ cachedTokens, verdict, errorTokens }) => {
    expect(judge({}, { cachedTokens })).toMatchObject({
      verdict,
      predictedTokens: 500,
      ...(errorTokens === undefined ? {} : { errorTokens }),
    });
  });

  it("leaves open what is in the block that follows, however many tokens it became", () => {
    // As where a template puts tools behind a system message.
    const upTo = (blocks: number) => (blocks > 10 ? 1_000 + blocks * 50 : blocks * 50);
    expect(judge({}, { cachedTokens: 1_500 }, { upTo })).toMatchObject({ errorTokens: 0 });
    expect(judge({}, { cachedTokens: 1_700 }, { upTo })).toMatchObject({ verdict: "under" });
    // Nothing follows: what is behind the last block is less than one.
    const whole = { totalBlocks: 10 };
    const end = { promptTokens: 600, cachedTokens: 560 };
    expect(judge(whole, end, { upTo })).toMatchObject({ errorTokens: 0 });
  });

  it("is judged by blocks as long as its prompt has them", () => {
    // 150 tokens a block: a script whose letters are tokens of their own.
    const dense = { promptTokens: 40 * 150, cachedTokens: 650 };
    expect(judge({}, dense)).toMatchObject({ verdict: "right" });
    expect(judge({}, { ...dense, promptTokens: 40 * 60 })).toMatchObject({ verdict: "under" });
  });

  it.for([
    { name: "claims of events that are not so", cached: 0, approximateBlocks: 10, charged: true },
    { name: "what the other source knew", cached: 1_000, approximateBlocks: 20, charged: true },
    { name: "what nobody knew", cached: 1_000, approximateBlocks: 10, charged: false },
    { name: "what the other hardly knew", cached: 700, approximateBlocks: 11, charged: false },
    { name: "no mistake", cached: 510, approximateBlocks: 0, charged: false },
  ])("is charged with $name: $charged", ({ cached, approximateBlocks, charged }) => {
    expect(judge({ approximateBlocks }, { cachedTokens: cached })).toMatchObject({
      isCharged: charged,
    });
  });

  it("of what was just sent there is told in tokens when they are known, and charged by the other source", () => {
    const sent = { tokens: null, blocks: 20, approximateBlocks: 20 };
    expect(judge(sent, { cachedTokens: 1_000 })).toMatchObject({
      predictedTokens: 1_000,
      verdict: "right",
    });
    // It was not computed in time: nobody knew.
    expect(judge(sent, { cachedTokens: 0 })).toMatchObject({ verdict: "over", isCharged: false });
    expect(judge(sent, {}, { upTo: () => undefined })).toBe("unknown");
  });

  it.for([
    { name: "unreported", end: { cachedTokens: null } },
    { name: "unreported", end: { promptTokens: null } },
    { name: "unreported", end: { isPromptCached: false } },
    { name: "elsewhere", end: { slot: 4 } },
    { name: "elsewhere", end: { failedCount: 1 } },
    { name: "waited", end: { ttftMs: COMPARED_TTFT_MS_MAX + 1 } },
    { name: "waited", end: { ttftMs: null } },
  ])("is not compared: $name $end", ({ name, end }) => {
    expect(judge({}, end)).toBe(name);
    expect(judge({}, { ttftMs: COMPARED_TTFT_MS_MAX })).toMatchObject({ verdict: "right" });
  });

  it("is not compared with what another cache had", () => {
    expect(judge({}, {}, { life: 2 })).toBe("restarted");
  });
});
