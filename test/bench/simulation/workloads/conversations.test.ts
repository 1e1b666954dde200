import { describe, expect, it } from "vitest";
import { fullBlocks } from "../../../../bench/simulation/workload.ts";
import {
  type ConversationShape,
  conversationWorkload,
} from "../../../../bench/simulation/workloads/conversations.ts";

const SHAPE: ConversationShape = {
  sharedTokens: 320,
  privateTokens: { kind: "uniform", min: 100, max: 1_000 },
  turns: { kind: "uniform", min: 1, max: 7 },
  inputTokens: { kind: "uniform", min: 10, max: 100 },
  outputTokens: { kind: "uniform", min: 10, max: 200 },
  pauseS: { kind: "uniform", min: 2, max: 5 },
  modelLengthMax: 2_000,
  requests: 2_000,
  warmUpShare: 0.4,
};
const ABOUT = { name: "w", about: "", slo: { ttftMs: 1, tpotMs: 1 }, saturationRate: 1 };

function phaseOf(rate = 5, changes: Partial<ConversationShape> = {}) {
  const [phase] = conversationWorkload(ABOUT, { ...SHAPE, ...changes }).create(rate, 1);
  return phase!;
}

describe("conversations", () => {
  it("each turn begins with all that was said before", () => {
    for (const { turns } of phaseOf().sessions) {
      for (let i = 1; i < turns.length; i++) {
        const before = turns[i - 1]!.request;
        const { promptTokens, outputTokens, blocks } = turns[i]!.request;
        expect(promptTokens).toBeGreaterThan(before.promptTokens + before.outputTokens);
        expect(blocks.slice(0, before.blocks.length)).toEqual(before.blocks);
        expect(blocks).toHaveLength(fullBlocks(promptTokens + outputTokens));
      }
    }
  });

  it("all share the system prompt and nothing else", () => {
    const first = phaseOf().sessions.map(({ turns }) => turns[0]!.request.blocks);
    const shared = fullBlocks(320);
    expect(new Set(first.map((blocks) => blocks.slice(0, shared).join(" "))).size).toBe(1);
    expect(new Set(first.map((blocks) => blocks[shared])).size).toBe(first.length);
  });

  it("ends before the model's length", () => {
    const { sessions } = phaseOf(5, { modelLengthMax: 1_200 });
    for (const { turns } of sessions) {
      const { promptTokens, outputTokens } = turns.at(-1)!.request;
      expect(promptTokens + outputTokens).toBeLessThanOrEqual(1_200);
    }
  });

  it("offers requests at the rate, and measures what comes after the warm-up", () => {
    const { sessions, measuredFromMs, measuredUntilMs } = phaseOf();
    const requests = sessions.reduce((sum, { turns }) => sum + turns.length, 0);
    expect(requests / (measuredUntilMs / 1_000) / 5).toBeCloseTo(1, 1);
    expect(measuredFromMs).toBeCloseTo(0.4 * measuredUntilMs);
  });

  it("pauses between turns, not before the first", () => {
    for (const { turns } of phaseOf().sessions) {
      expect(turns[0]!.delayMs).toBe(0);
      for (const { delayMs } of turns.slice(1)) {
        expect(delayMs).toBeGreaterThanOrEqual(2_000);
        expect(delayMs).toBeLessThanOrEqual(5_000);
      }
    }
    expect(phaseOf(5, { pauseS: undefined }).sessions[0]!.turns.at(-1)!.delayMs).toBe(0);
  });
});
