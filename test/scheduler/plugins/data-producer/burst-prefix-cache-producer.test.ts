import { describe, expect, it } from "vitest";
import type { DataProducer } from "../../../../src/scheduler/plugin.ts";
import { NOW_MS, pickContext } from "../../support/pick-context.ts";
import { createProducer } from "../../support/plugins.ts";

const create = (params: object = {}) => createProducer("burst-prefix-cache-producer", params);

/** Keys of a prompt: of a chain, so a key names all blocks before it, too. */
function keysOf(prompt: string): Uint32Array {
  const keys = new Uint32Array(2 * prompt.length);
  let hash = 7;
  for (let i = 0; i < prompt.length; i++) {
    hash = Math.imul(hash ^ prompt.charCodeAt(i), 0x01000193);
    keys[2 * i] = hash;
    keys[2 * i + 1] = Math.imul(hash, 31);
  }
  return keys;
}

const contextOf = (prompt: string, afterMs: number) => ({
  ...pickContext([{}, {}, {}], { request: { keys: keysOf(prompt) } }),
  nowMs: NOW_MS + afterMs,
});

/** Where the request has a match; -1 for nowhere. A prompt is a letter a block. */
function matchOf(producer: DataProducer, prompt: string, afterMs = 0): number {
  producer.produce(contextOf(prompt, afterMs));
  const { matchedBlocks, totalBlocks } = producer.data["prefix-match"]!;
  expect(totalBlocks).toBe(prompt.length);
  const slots = [...matchedBlocks.keys()].filter((slot) => matchedBlocks[slot] !== 0);
  expect(slots.length).toBeLessThanOrEqual(1);
  if (slots.length === 0) return -1;
  expect(matchedBlocks[slots[0]!]).toBe(totalBlocks);
  return slots[0]!;
}

function send(producer: DataProducer, prompt: string, slot: number, afterMs = 0): void {
  matchOf(producer, prompt, afterMs);
  producer.onPicked?.(contextOf(prompt, afterMs), slot);
}

describe("burst-prefix-cache-producer", () => {
  it("sends the rest of a group where its first request went", () => {
    const producer = create();
    send(producer, "abc", 2);
    expect(matchOf(producer, "abc")).toBe(2);
    expect(matchOf(producer, "abd")).toBe(-1);
    expect(matchOf(producer, "abcd")).toBe(-1);
  });

  it("keeps to the first also when a later one went elsewhere", () => {
    const producer = create();
    send(producer, "abc", 2);
    send(producer, "abc", 1);
    expect(matchOf(producer, "abc")).toBe(2);
  });

  it("closes a group at the end of its first request's window", () => {
    const producer = create({ windowDurationMs: 100 });
    send(producer, "abc", 2);
    send(producer, "abc", 2, 60);
    expect(matchOf(producer, "abc", 99)).toBe(2);
    expect(matchOf(producer, "abc", 100)).toBe(-1);
    send(producer, "abc", 0, 100);
    expect(matchOf(producer, "abc", 110)).toBe(0);
  });

  it("groups prompts by their leading blocks, where these are enough", () => {
    const producer = create({ minColocateBlocks: 2 });
    send(producer, "abc", 1);
    expect(matchOf(producer, "abd")).toBe(1);
    expect(matchOf(producer, "ab")).toBe(1);
    expect(matchOf(producer, "a")).toBe(-1);
    expect(matchOf(producer, "xbc")).toBe(-1);
  });

  it("compares prompts as far as it is told", () => {
    const producer = create({ maxPrefixTokensToMatch: 2 * 64 });
    send(producer, "abc", 1);
    expect(matchOf(producer, "abd")).toBe(1);
  });

  it("keeps no more than maxPerReplica together in a window", () => {
    const producer = create({ maxPerReplica: 2 });
    send(producer, "abc", 1);
    expect(matchOf(producer, "abc")).toBe(1);
    send(producer, "abc", 1);
    expect(matchOf(producer, "abc")).toBe(-1);
  });

  it("remembers at most maxBatchSize prefixes", () => {
    const producer = create({ maxBatchSize: 2 });
    for (const prompt of ["a", "b", "c"]) send(producer, prompt, 0);
    expect(["a", "b", "c"].map((prompt) => matchOf(producer, prompt))).toEqual([0, 0, -1]);
    // Those whose window is over make room.
    send(producer, "c", 1, 200);
    expect(matchOf(producer, "c", 200)).toBe(1);
  });

  it("has no groups of prompts shorter than a block", () => {
    const producer = create({ minColocateBlocks: 0 });
    send(producer, "", 1);
    expect(matchOf(producer, "")).toBe(-1);
  });

  it.for(["onEndpointRemoved", "onEndpointRestarted"] as const)("forgets by %s", (event) => {
    const producer = create();
    send(producer, "abc", 1);
    producer[event]?.(1);
    expect(matchOf(producer, "abc")).toBe(-1);
  });
});
