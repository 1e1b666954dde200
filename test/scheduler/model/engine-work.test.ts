import { describe, expect, it } from "vitest";
import { BUSY_MS_MAX, EngineWork } from "../../../src/scheduler/model/engine-work.ts";

const ENDPOINTS = 2;

/** A number: as many tokens, none of them cached. */
function send(
  work: EngineWork,
  slot: number,
  nowMs: number,
  prompt: number | { readonly promptTokens: number; readonly uncachedTokens: number },
): number {
  const tokens =
    typeof prompt === "number" ? { promptTokens: prompt, uncachedTokens: prompt } : prompt;
  const kvTokens = tokens.uncachedTokens + 100;
  return work.sent(slot, { nowMs, ...tokens, kvTokens, msPerToken: 0.1 }, ENDPOINTS);
}

describe("the prefill queue", () => {
  it("fills with what is sent and drains by itself", () => {
    const work = new EngineWork(ENDPOINTS);
    expect(send(work, 0, 1_000, 5_000)).toBe(0);
    expect(send(work, 0, 1_100, 1_000)).toBe(400);
    expect(work.prefillBusyUntilMs[0]).toBe(1_600);
    expect(send(work, 0, 9_000, 10)).toBe(0);
    expect(work.prefillBusyUntilMs[1]).toBe(0);
  });

  it("loses what is taken back, and never more than is left", () => {
    const work = new EngineWork(ENDPOINTS);
    send(work, 0, 1_000, 5_000);
    work.takenBack(0, 200, 1_100);
    expect(work.prefillBusyUntilMs[0]).toBe(1_300);
    work.takenBack(0, 900, 1_100);
    expect(work.prefillBusyUntilMs[0]).toBe(1_100);
    work.takenBack(0, 900, 1_200);
    expect(work.prefillBusyUntilMs[0]).toBe(1_100);
  });

  it("takes less time when the engine is learned to be faster, and is as many tokens", () => {
    const work = new EngineWork(ENDPOINTS);
    send(work, 0, 1_000, 5_000);
    const prompt = { nowMs: 1_100, promptTokens: 100, uncachedTokens: 100 };
    // 4,000 tokens are left, which took 400 ms.
    const aheadMs = work.added(0, { ...prompt, msPerToken: 0.05 }, ENDPOINTS);
    expect(aheadMs).toBe(200);
    expect(work.prefillBusyUntilMs[0]).toBe(1_100 + 200 + 5);
    // Of another table's columns it is not known what they were counted by.
    work.copied(0);
    expect(work.added(0, { ...prompt, msPerToken: 0.1 }, ENDPOINTS)).toBe(205);
  });

  it("has drained of what others sent as far as there was nothing else to do", () => {
    const work = new EngineWork(ENDPOINTS);
    work.workedElsewhere(0, 0, 1_000);
    send(work, 0, 1_000, 1_000);
    // Busy for 100 of 250 ms: 150 of these 200 are done.
    work.workedElsewhere(0, 200, 1_250);
    expect(work.prefillBusyUntilMs[0]).toBe(1_300);
    // Idle for the rest, which was enough.
    work.workedElsewhere(0, 100, 1_500);
    expect(work.prefillBusyUntilMs[0]).toBe(1_500);
    // Idle time counts once, and not from before others can have sent it.
    work.workedElsewhere(0, 100, 1_500);
    expect(work.prefillBusyUntilMs[0]).toBe(1_600);
    work.workedElsewhere(0, 700, 100_000);
    expect(work.prefillBusyUntilMs[0]).toBe(100_200);
  });

  it("loses no more of what others take back than was counted of theirs, and is left", () => {
    const work = new EngineWork(ENDPOINTS);
    const others = (ms: number, nowMs: number) => work.workedElsewhere(0, ms, nowMs);
    // Heard of after as much idle time: it is done, and nothing of it can be taken back.
    others(400, 2_000);
    send(work, 0, 2_000, 4_000);
    others(-400, 2_001);
    expect(work.prefillBusyUntilMs[0]).toBe(2_400);
    others(300, 2_001);
    expect(work.prefillBusyUntilMs[0]).toBe(2_700);
    others(-200, 2_001);
    expect(work.prefillBusyUntilMs[0]).toBe(2_500);
    // Of the 100 that are left some have drained.
    others(-300, 2_041);
    expect(work.prefillBusyUntilMs[0]).toBe(2_440);
    others(-300, 2_041);
    expect(work.prefillBusyUntilMs[0]).toBe(2_440);
  });

  it("loses what others take back by what a token takes now", () => {
    const work = new EngineWork(ENDPOINTS);
    work.workedElsewhere(0, 0, 1_000);
    send(work, 0, 1_000, 1_000);
    work.workedElsewhere(0, 400, 1_000);
    const prompt = { nowMs: 1_000, promptTokens: 0, uncachedTokens: 0 };
    // Twice as fast: 50 ms of one's own, and 200 of others'.
    expect(work.added(0, { ...prompt, msPerToken: 0.05 }, ENDPOINTS)).toBe(250);
    work.workedElsewhere(0, -400, 1_000);
    expect(work.prefillBusyUntilMs[0]).toBe(1_050);
    // Of another endpoint in the same slot nothing is known.
    work.workedElsewhere(0, 400, 1_000);
    work.clear(0, new Uint8Array(ENDPOINTS));
    send(work, 0, 1_000, 1_000);
    work.workedElsewhere(0, -400, 1_000);
    expect(work.prefillBusyUntilMs[0]).toBe(1_100);
  });

  it("counts no further ahead than its bound", () => {
    const work = new EngineWork(ENDPOINTS);
    send(work, 0, 1_000, 1e12);
    expect(work.prefillBusyUntilMs[0]).toBe(1_000 + BUSY_MS_MAX);
  });
});

describe("the tokens of a request", () => {
  it("begin with the first and follow the mean", () => {
    const work = new EngineWork(ENDPOINTS);
    send(work, 0, 0, 900);
    expect(work.requestTokens[0]).toBe(1_000);
    for (let i = 0; i < 100; i++) send(work, 0, 0, 1_900);
    expect(work.requestTokens[0]).toBeGreaterThan(1_990);
  });
});

describe("cold tokens", () => {
  it("count half when the pool was sent enough others", () => {
    const work = new EngineWork(ENDPOINTS);
    send(work, 0, 0, 1_000);
    for (let i = 0; i < 4; i++) send(work, 1, 0, 2 ** 19);
    expect(work.coldTokens[0]).toBeCloseTo(500);
  });

  it("count little of a prompt that is mostly cached", () => {
    const work = new EngineWork(ENDPOINTS);
    send(work, 0, 0, { promptTokens: 10_000, uncachedTokens: 1_000 });
    expect(work.coldTokens[0]).toBeCloseTo(10);
    send(work, 1, 0, { promptTokens: 10_000, uncachedTokens: 0 });
    expect(work.coldTokens[1]).toBe(0);
  });

  it("leave with the endpoint", () => {
    const work = new EngineWork(ENDPOINTS);
    send(work, 0, 0, 1_000);
    work.clear(0, new Uint8Array(ENDPOINTS));
    expect([work.coldTokens[0], work.requestTokens[0], work.prefillBusyUntilMs[0]]).toEqual([
      0, 0, 0,
    ]);
  });

  it("begin beside the endpoint that was sent the least, so that a new one is not flooded", () => {
    const work = new EngineWork(3);
    send(work, 0, 0, 9_000);
    send(work, 1, 0, 4_000);
    const [more, less] = work.coldTokens;
    work.clear(2, Uint8Array.of(1, 1, 1));
    expect(work.coldTokens[2]).toBe(less);
    // Who has left does not count.
    work.clear(2, Uint8Array.of(1, 0, 1));
    expect(work.coldTokens[2]).toBe(more);
  });
});
