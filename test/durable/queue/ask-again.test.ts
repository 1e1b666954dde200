import { describe, expect, it } from "vitest";
import {
  ASK_AGAIN_MS,
  ASKS_PER_SECOND_MAX,
  AskAgain,
  type PlaceOutlook,
} from "../../../src/durable/queue/ask-again.ts";

const FAR: PlaceOutlook = { waitMs: 20_000, ahead: 1_999, placeCount: 2_000, coveredAhead: 500 };

describe("AskAgain", () => {
  it("sends a place back when an open call is likely to be had, in time for its turn", () => {
    const coveredMs = 15_000;
    const afterMs = new AskAgain().afterMs(FAR, 0);
    expect(afterMs).toBeGreaterThan(0.5 * coveredMs);
    expect(afterMs).toBeLessThanOrEqual(coveredMs);
  });

  it.for([
    { name: "one whose turn is near", outlook: { ...FAR, ahead: 400 }, ms: ASK_AGAIN_MS.min },
    { name: "one of a band that stands still", outlook: { ...FAR, waitMs: Infinity }, ms: 30_000 },
  ])("$name is told about $ms ms", ({ outlook, ms }) => {
    const afterMs = new AskAgain().afterMs(outlook, 0);
    expect(afterMs).toBeGreaterThanOrEqual(0.75 * ms);
    expect(afterMs).toBeLessThanOrEqual(1.25 * ms);
  });

  it("spreads places evenly while nobody knows how fast they are served", () => {
    const askAgain = new AskAgain();
    const outlook = { ...FAR, waitMs: undefined, placeCount: 3_000 };
    const told = Array.from({ length: 3_000 }, () => askAgain.afterMs(outlook, 0));
    const bySecond = new Map<number, number>();
    for (const ms of told) {
      const second = Math.floor(ms / 1_000);
      bySecond.set(second, (bySecond.get(second) ?? 0) + 1);
    }
    // From a tenth to nearly twice the ten seconds that the bound asks for.
    expect(Math.max(...bySecond.values())).toBeLessThan(ASKS_PER_SECOND_MAX);
    expect(Math.max(...told)).toBeLessThan(19_001);
  });

  it("sends places back later the more they ask, and sooner when they ask less again", () => {
    const askAgain = new AskAgain();
    const atRest = askAgain.afterMs(FAR, 0);
    for (let ms = 0; ms < 10_000; ms++) askAgain.asked(ms);
    // A thousand a second: more than three times the bound.
    expect(askAgain.afterMs(FAR, 10_000)).toBeGreaterThan(1.5 * atRest);
    expect(askAgain.afterMs(FAR, 30_000)).toBeLessThan(1.7 * atRest);
  });

  it("leaves nobody alone for longer than its maximum", () => {
    const askAgain = new AskAgain();
    const outlook = { ...FAR, waitMs: undefined, placeCount: 10_000_000 };
    for (let i = 0; i < 100; i++)
      expect(askAgain.afterMs(outlook, 0)).toBeLessThanOrEqual(ASK_AGAIN_MS.max);
  });
});
