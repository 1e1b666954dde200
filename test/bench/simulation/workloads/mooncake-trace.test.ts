import { describe, expect, it } from "vitest";
import { BLOCK_TOKENS, fullBlocks } from "../../../../bench/simulation/workload.ts";
import {
  parseTrace,
  traceWorkload,
} from "../../../../bench/simulation/workloads/mooncake-trace.ts";

const PATH = "test/fixtures/traces/mooncake-conversation-300.jsonl";
const LINE = { timestamp: 0, input_length: 1_000, output_length: 10, hash_ids: [0, 1] };

describe("parseTrace", () => {
  it.for([
    { name: "no JSON", line: "{", says: "t line 2 is no request of a Mooncake trace" },
    {
      name: "a missing field",
      line: JSON.stringify({ ...LINE, output_length: undefined }),
      says: "output_length",
    },
    {
      name: "too few ids",
      line: JSON.stringify({ ...LINE, hash_ids: [0] }),
      says: "hash_ids are too few for input_length 1000",
    },
  ])("names the line and what is wrong: $name", ({ line, says }) => {
    expect(() => parseTrace(`${JSON.stringify(LINE)}\n${line}\n`, "t")).toThrow(says);
  });

  it("wants a request", () => {
    expect(() => parseTrace("\n", "t")).toThrow("t holds no request");
  });
});

describe("the public trace", () => {
  const workload = traceWorkload(PATH);
  const [phase] = workload.create(4, 1);
  const requests = phase!.sessions.map(({ turns }) => turns[0]!.request);

  it("keeps lengths", () => {
    expect(requests).toHaveLength(300);
    expect(requests[0]).toMatchObject({ promptTokens: 6_758, outputTokens: 500 });
    for (const { promptTokens, outputTokens, blocks } of requests)
      expect(blocks).toHaveLength(fullBlocks(promptTokens + outputTokens));
  });

  it("shares blocks where hash ids are shared", () => {
    // Both lines begin with id 0, and go on with ids of their own.
    const [first, second] = requests;
    const hashed = 512 / BLOCK_TOKENS;
    expect(second!.blocks.slice(0, hashed)).toEqual(first!.blocks.slice(0, hashed));
    expect(second!.blocks[hashed]).not.toBe(first!.blocks[hashed]);
  });

  it("stretches time to the rate, and keeps what follows what", () => {
    const starts = phase!.sessions.map(({ startMs }) => startMs);
    expect(300 / (starts.at(-1)! / 1_000)).toBeCloseTo(4, 1);
    expect(starts).toEqual(starts.toSorted((a, b) => a - b));
  });
});
