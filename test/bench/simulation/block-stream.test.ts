import { expect, it } from "vitest";
import { BlockNames, BlockStream } from "../../../bench/simulation/block-stream.ts";
import { BLOCK_TOKENS } from "../../../bench/simulation/workload.ts";

it("shares the full blocks of what was there before the fork, and no others", () => {
  const parent = new BlockStream(new BlockNames()).append(2.5 * BLOCK_TOKENS);
  const child = parent.fork().append(2 * BLOCK_TOKENS);
  const sibling = parent.fork().append(BLOCK_TOKENS);
  parent.append(BLOCK_TOKENS);
  expect(parent.tokens).toBe(3.5 * BLOCK_TOKENS);
  expect([...parent.blocks()]).toEqual([0, 1, 5]);
  expect([...child.blocks()]).toEqual([0, 1, 2, 3]);
  expect([...sibling.blocks()]).toEqual([0, 1, 4]);
});
