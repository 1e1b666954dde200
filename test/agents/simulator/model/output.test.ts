import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  generateOutput,
  type OutputRequest,
} from "../../../../src/agents/simulator/model/output.ts";
import { tokenize } from "../../../../src/agents/simulator/model/tokenizer.ts";
import { createRng } from "../../../../src/scheduler/support/rng.ts";

const ECHO: OutputRequest = {
  mode: "echo",
  echo: tokenize("one two three four"),
  limit: undefined,
  roomCount: 1_000,
  isEosIgnored: false,
};
const RANDOM: OutputRequest = { ...ECHO, mode: "random" };

const generate = (request: OutputRequest, seed = 1) => {
  const { tokens, finishReason } = generateOutput(request, createRng(seed));
  return { text: tokens.map((token) => token.text).join(""), count: tokens.length, finishReason };
};

describe("echo", () => {
  it.for([
    {
      name: "repeats the whole text",
      request: ECHO,
      expected: { text: "one two three four", count: 4, finishReason: "stop" },
    },
    {
      name: "stops at the limit",
      request: { ...ECHO, limit: 2 },
      expected: { text: "one two ", count: 2, finishReason: "length" },
    },
    {
      name: "stops at the end of the context",
      request: { ...ECHO, roomCount: 3 },
      expected: { text: "one two three ", count: 3, finishReason: "length" },
    },
    {
      name: "goes on until the limit when the end is ignored",
      request: { ...ECHO, limit: 6, isEosIgnored: true },
      expected: { text: "one two three fourone two ", count: 6, finishReason: "length" },
    },
    {
      name: "answers nothing with one empty token",
      request: { ...ECHO, echo: [] },
      expected: { text: "", count: 1, finishReason: "stop" },
    },
  ])("$name", ({ request, expected }) => {
    expect(generate(request)).toEqual(expected);
  });
});

describe("random", () => {
  it("gives the same answer for the same seed, and others for others", () => {
    expect(generate(RANDOM, 7)).toEqual(generate(RANDOM, 7));
    const texts = new Set(Array.from({ length: 20 }, (_, seed) => generate(RANDOM, seed).text));
    expect(texts.size).toBeGreaterThan(10);
  });

  it("never exceeds limit or context, and says `length` exactly when it reaches one", () => {
    fc.assert(
      fc.property(
        fc.option(fc.integer({ min: 1, max: 500 }), { nil: undefined }),
        fc.integer({ min: 1, max: 300 }),
        fc.integer(),
        (limit, roomCount, seed) => {
          const { count, finishReason } = generate({ ...RANDOM, limit, roomCount }, seed);
          const max = Math.min(limit ?? roomCount, roomCount);
          expect(count).toBeGreaterThanOrEqual(1);
          expect(count).toBeLessThanOrEqual(max);
          expect(finishReason).toBe(count === max ? "length" : "stop");
        },
      ),
    );
  });

  it("reaches the limit about as often as the last bucket says", () => {
    const random = createRng(3);
    let reached = 0;
    for (let i = 0; i < 2_000; i++) {
      const { finishReason } = generateOutput({ ...RANDOM, limit: 600 }, random);
      if (finishReason === "length") reached++;
    }
    expect(reached / 2_000).toBeGreaterThan(0.12);
    expect(reached / 2_000).toBeLessThan(0.19);
  });

  it("generates exactly the limit when the end is ignored", () => {
    expect(generate({ ...RANDOM, limit: 77, isEosIgnored: true })).toMatchObject({
      count: 77,
      finishReason: "length",
    });
  });
});
