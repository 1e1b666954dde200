import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { parseTrace } from "../../../../bench/simulation/workloads/mooncake-trace.ts";
import {
  conversationTrace,
  unpackTrace,
} from "../../../../bench/simulation/workloads/packed-trace.ts";

it("unpacks times and runs of ids", () => {
  expect(unpackTrace("5 1000 20 7 2\n3 100 4 0 1 9 1\n")).toEqual([
    { timestamp: 5, input_length: 1000, output_length: 20, hash_ids: [7, 8] },
    { timestamp: 8, input_length: 100, output_length: 4, hash_ids: [0, 9] },
  ]);
});

it("has the published trace", () => {
  const path = "test/fixtures/traces/mooncake-conversation-300.jsonl";
  const published = parseTrace(readFileSync(path, "utf8"), path);
  expect(conversationTrace()).toHaveLength(12_031);
  expect(conversationTrace().slice(0, published.length)).toEqual(published);
});
