// The naive picker says what llm-d's optimized baseline must choose.

import fc from "fast-check";
import { expect, it } from "vitest";
import { createKeys } from "../../bench/pick.ts";
import { PoolInUse } from "../../bench/pool-in-use.ts";
import { profileConfig } from "../scheduler/support/profile-config.ts";

const TOKENS_MAX = 4_000;

it("chooses what the scheduler chooses, for warm, cold and empty prompts in any order", () => {
  const prompt = fc.record({
    seed: fc.integer({ min: 1, max: 4 }),
    tokens: fc.integer({ min: 0, max: TOKENS_MAX }),
  });
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 70 }),
      fc.integer({ min: 1, max: 1_000_000 }),
      fc.array(prompt, { minLength: 1, maxLength: 20 }),
      (endpoints, seed, prompts) => {
        const pool = new PoolInUse(endpoints, seed, profileConfig());
        pool.warm(createKeys(TOKENS_MAX, 1));
        pool.warm(createKeys(TOKENS_MAX, 2));
        for (const { seed: words, tokens } of prompts) {
          const keys = createKeys(tokens, words);
          expect(pool.pick(keys)).toEqual(pool.naive.pick(keys));
        }
      },
    ),
    { numRuns: 100 },
  );
});
