import { describe, expect, it } from "vitest";
import {
  OVERHEAD_MS,
  EngineSpeeds,
  SPEED_LIMITS,
  type SpeedObservation,
  TRANSFER_OVERHEAD_MS,
  UNLEARNED,
} from "../../../src/scheduler/model/engine-speeds.ts";
import { createRng } from "../../../src/scheduler/support/rng.ts";

const SLOTS = 3;

function prompt(msPerToken: number, overrides: Partial<SpeedObservation> = {}): SpeedObservation {
  const ttftMs = OVERHEAD_MS + 4_000 * msPerToken;
  return { ttftMs, decodeMs: null, workTokens: 4_000, isHeld: false, ...overrides };
}

describe("prefill", () => {
  it.for([0.02, 0.06, 0.5])("finds %d ms a token within some fifty requests", (msPerToken) => {
    const speeds = new EngineSpeeds(SLOTS);
    const rng = createRng(3);
    for (let i = 0; i < 50; i++) speeds.observe(1, prompt(msPerToken * (0.9 + 0.2 * rng())));
    expect(speeds.prefillMsPerToken[1]! / msPerToken).toBeGreaterThan(0.8);
    expect(speeds.prefillMsPerToken[1]! / msPerToken).toBeLessThan(1.25);
  });

  it("is moved a little by an outlier, whatever its size", () => {
    const speeds = new EngineSpeeds(SLOTS);
    for (let i = 0; i < 50; i++) speeds.observe(0, prompt(0.1));
    const before = speeds.prefillMsPerToken[0]!;
    speeds.observe(0, prompt(1e6));
    expect(speeds.prefillMsPerToken[0]! / before).toBeLessThan(1.05);
  });

  it("is not learned from short prompts, nor from those that waited for memory, nor from no answer", () => {
    const speeds = new EngineSpeeds(SLOTS);
    speeds.observe(0, prompt(5, { workTokens: 1_023 }));
    speeds.observe(0, prompt(5, { isHeld: true }));
    speeds.observe(0, prompt(5, { ttftMs: null }));
    expect(speeds.prefillMsPerToken[0]).toBe(UNLEARNED.prefillMsPerToken);
    speeds.observe(0, prompt(5, { workTokens: 1_024 }));
    expect(speeds.prefillMsPerToken[0]).toBeGreaterThan(UNLEARNED.prefillMsPerToken);
  });

  it("is not learned from prompts behind work that is known from other objects", () => {
    const speeds = new EngineSpeeds(SLOTS);
    speeds.observe(0, prompt(5, { heardTokens: 1_001 }));
    expect(speeds.prefillMsPerToken[0]).toBe(UNLEARNED.prefillMsPerToken);
    speeds.observe(0, prompt(5, { heardTokens: 1_000 }));
    expect(speeds.prefillMsPerToken[0]).toBeGreaterThan(UNLEARNED.prefillMsPerToken);
  });

  it("is found where little work is taken for much, as far as it is others'", () => {
    // Most prompts are cached, and others' work is heard of that has been done meanwhile.
    const speeds = new EngineSpeeds(SLOTS);
    const rng = createRng(5);
    for (let i = 0; i < 2_000; i++) {
      const heardTokens = Math.floor(3_000 * rng());
      const own = i % 8 === 0 ? 2_000 : 100;
      const ttftMs = OVERHEAD_MS + 0.05 * (own + heardTokens * rng() * 0.2);
      speeds.observe(0, prompt(0, { ttftMs, workTokens: own + heardTokens, heardTokens }));
    }
    expect(speeds.prefillMsPerToken[0]! / 0.05).toBeGreaterThan(0.8);
    expect(speeds.prefillMsPerToken[0]! / 0.05).toBeLessThan(1.25);
  });

  it.for([
    ["Max", 1e9],
    ["Min", 0],
  ] as const)("stays at its %simum", ([which, msPerToken]) => {
    const speeds = new EngineSpeeds(SLOTS);
    for (let i = 0; i < 2_000; i++) speeds.observe(0, prompt(msPerToken));
    expect(speeds.prefillMsPerToken[0]).toBe(SPEED_LIMITS[`prefillMsPerToken${which}`]);
  });
});

describe("service", () => {
  it("is the mean, and bounded", () => {
    const speeds = new EngineSpeeds(SLOTS);
    for (const decodeMs of [1_000, 3_000]) speeds.observe(0, prompt(0.1, { decodeMs }));
    expect(speeds.serviceMs[0]).toBe(2_000);
    for (let i = 0; i < 500; i++) speeds.observe(0, prompt(0.1, { decodeMs: 1e12 }));
    expect(speeds.serviceMs[0]).toBeLessThanOrEqual(SPEED_LIMITS.serviceMsMax);
  });
});

describe("an endpoint that has served nothing", () => {
  it("has what the pool learned, before and after it came", () => {
    const speeds = new EngineSpeeds(SLOTS);
    speeds.clear(1);
    speeds.observe(0, prompt(1, { decodeMs: 500 }));
    const learned = speeds.prefillMsPerToken[0]!;
    expect([speeds.prefillMsPerToken[1], speeds.serviceMs[1]]).toEqual([learned, 500]);
    speeds.clear(2);
    expect([speeds.prefillMsPerToken[2], speeds.serviceMs[2]]).toEqual([learned, 500]);
    speeds.observe(1, prompt(0.001, { decodeMs: 90 }));
    speeds.clear(1);
    expect(speeds.serviceMs[1]).toBe(speeds.serviceMs[2]);
    expect(speeds.prefillMsPerToken[1]).toBe(speeds.prefillMsPerToken[2]);
  });
});

describe("transfer", () => {
  const handOver = (msPerToken: number, tokens = 4_000) => ({
    transferMs: TRANSFER_OVERHEAD_MS + tokens * msPerToken,
    tokens,
  });

  it.for([0.004, 0.02, 0.1])("finds %d ms a token within some fifty hand-overs", (msPerToken) => {
    const speeds = new EngineSpeeds(SLOTS);
    const rng = createRng(3);
    for (let i = 0; i < 50; i++) speeds.handedOver(1, handOver(msPerToken * (0.9 + 0.2 * rng())));
    expect(speeds.transferMsPerToken[1]! / msPerToken).toBeGreaterThan(0.8);
    expect(speeds.transferMsPerToken[1]! / msPerToken).toBeLessThan(1.25);
    // Nobody else has learned any: they follow.
    expect(speeds.transferMsPerToken[0]).toBe(speeds.transferMsPerToken[SLOTS]);
    expect(speeds.transferMsPerToken[0]).not.toBe(UNLEARNED.transferMsPerToken);
    expect(speeds.prefillMsPerToken[1]).toBe(UNLEARNED.prefillMsPerToken);
  });

  it("is not learned from short prompts", () => {
    const speeds = new EngineSpeeds(SLOTS);
    speeds.handedOver(0, handOver(5, 1_023));
    expect(speeds.transferMsPerToken[0]).toBe(UNLEARNED.transferMsPerToken);
    speeds.handedOver(0, handOver(5, 1_024));
    expect(speeds.transferMsPerToken[0]).toBeGreaterThan(UNLEARNED.transferMsPerToken);
  });

  it.for([
    ["Max", 1e9],
    ["Min", -1],
  ] as const)("stays at its %simum", ([which, msPerToken]) => {
    const speeds = new EngineSpeeds(SLOTS);
    for (let i = 0; i < 2_000; i++) speeds.handedOver(0, handOver(msPerToken));
    expect(speeds.transferMsPerToken[0]).toBe(SPEED_LIMITS[`transferMsPerToken${which}`]);
  });

  it("is the pool's again once the slot is another endpoint's", () => {
    const speeds = new EngineSpeeds(SLOTS);
    for (let i = 0; i < 9; i++) speeds.handedOver(0, handOver(0.5));
    for (let i = 0; i < 99; i++) speeds.handedOver(1, handOver(0.01));
    speeds.clear(0);
    expect(speeds.transferMsPerToken[0]).toBe(speeds.transferMsPerToken[SLOTS]);
  });
});
