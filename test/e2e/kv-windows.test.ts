// A hybrid model's engine has all blocks of a prefix, and no hit where the window's blocks before its end are gone:
// predictions say so, as the engine does.

import { afterAll, beforeAll, expect, it } from "vitest";
import { judge, tokenCountsOf } from "../../bench/kv-accuracy/judge.ts";
import { KvStack, MODEL } from "./kv-stack.ts";

/** Room for a few windows of eight blocks and what is being computed: some 1,100 tokens. */
const HYBRID = {
  "sliding-window": "128",
  "sliding-window-blocks": "72",
  "max-num-seqs": "4",
  "max-num-batched-tokens": "512",
};

let stack: KvStack;
beforeAll(async () => {
  stack = await KvStack.start(1, HYBRID);
});
afterAll(() => stack?.[Symbol.asyncDispose]());

const words = (name: string, count: number) =>
  Array.from({ length: count }, (_, i) => `${name}-${i}`).join(" ");

const SYSTEM = { role: "system", content: `You answer of ${words("tide", 250)}.` };

/** A conversation of one turn, and what was believed and found of its prompt. */
async function ask(question: string, system = SYSTEM) {
  const messages = [system, { role: "user", content: question }];
  const body = JSON.stringify({ model: MODEL, max_tokens: 8, ignore_eos: true, messages });
  const { candidates, result } = await stack.probe(body);
  const { promptTokens, cachedTokens } = result!;
  const { matchedBlocks } = candidates[0]!;
  const observed = {
    matchedBlocks,
    promptTokens: promptTokens!,
    cachedTokens: cachedTokens ?? 0,
    tokenCounts: await tokenCountsOf(body, stack.origins[0]!),
  };
  await stack.settle();
  return {
    matchedBlocks,
    cachedTokens: observed.cachedTokens,
    wrongBlocks: judge(observed).blocks,
  };
}

it("hits are predicted to end where windows let them", async () => {
  const question = `What of ${words("moon", 40)}?`;
  await ask(question);
  const own = await ask(`${question} And then?`);
  expect(own.cachedTokens).toBeGreaterThan(800);
  expect(Math.abs(own.wrongBlocks)).toBeLessThanOrEqual(1);
  // While there is room, what is behind a window can still be found.
  const early = await ask("What of the sun?");
  expect(early.cachedTokens).toBeGreaterThan(600);
  expect(Math.abs(early.wrongBlocks)).toBeLessThanOrEqual(1);
  for (let n = 0; n < 3; n++) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other, each takes the room of the one before
    await ask("Hello.", { role: "system", content: words(`other-${n}`, 200) });
  }
  const other = await ask(`What of ${words("star", 40)}?`);
  expect(other.cachedTokens).toBeLessThan(300);
  expect(Math.abs(other.wrongBlocks)).toBeLessThanOrEqual(1);
  const { endpoints } = await stack.pool();
  expect(endpoints[0]!.knowledge).toBe("exact");
});
