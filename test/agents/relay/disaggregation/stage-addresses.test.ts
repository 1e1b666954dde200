import { expect, it } from "vitest";
import { parseStages } from "../../../../src/agents/relay/disaggregation/stage-addresses.ts";
import { rankHeaders, rankOf } from "../../../../src/agents/relay/disaggregation/data-parallel.ts";

const KNOWN = new Set(["10.0.0.1:8000", "10.0.0.1:8001", "[fd00::1]:8000"]);
const parse = (...values: string[]) => parseStages(values, (address) => KNOWN.has(address));
const NONE = {
  prefillers: [],
  encoders: [],
  dataParallel: undefined,
  kvSource: undefined,
  unknown: [],
};

it.for([
  { values: ["", "", "", ""], stages: {} },
  {
    values: ["10.0.0.1:8001,10.0.0.1:8000"],
    stages: { prefillers: ["10.0.0.1:8001", "10.0.0.1:8000"] },
  },
  { values: [" http://10.0.0.1:8000 ,, 10.0.0.1:8000"], stages: { prefillers: ["10.0.0.1:8000"] } },
  { values: ["[FD00::1]:8000"], stages: { prefillers: ["[fd00::1]:8000"] } },
  // The host alone is not enough, and neither is the port.
  {
    values: ["10.0.0.1:22,10.0.0.2:8000,10.0.0.1", "10.0.0.1:9", "10.0.0.2:8001", "10.0.0.1:1"],
    stages: { unknown: ["prefill", "prefill", "prefill", "encode", "data-parallel", "kv-source"] },
  },
  {
    values: ["", "10.0.0.1:8000", "10.0.0.1:8001", "10.0.0.1:8000"],
    stages: {
      encoders: ["10.0.0.1:8000"],
      dataParallel: "10.0.0.1:8001",
      kvSource: "10.0.0.1:8000",
    },
  },
])("$values", ({ values, stages }) => {
  expect(parse(...values)).toEqual({ ...NONE, ...stages });
});

const rank = (labels: Record<string, string>) => ({
  id: "d/e",
  address: "h:1",
  engine: "vllm" as const,
  labels,
});

it("an endpoint that is one rank of an engine is named so in each request", () => {
  const endpoint = rank({ "fairlead/data-parallel-rank": "3", "fairlead/data-parallel-size": "8" });
  expect(rankOf(endpoint)).toEqual({ rank: 3, count: 8 });
  expect(rankHeaders(endpoint)).toEqual({ "x-data-parallel-rank": "3" });
});

it.for([
  {},
  { "fairlead/data-parallel-rank": "3" },
  { "fairlead/data-parallel-rank": "8", "fairlead/data-parallel-size": "8" },
  { "fairlead/data-parallel-rank": "x", "fairlead/data-parallel-size": "8" },
])("%j names no rank", (labels) => {
  expect(rankOf(rank(labels))).toBeUndefined();
  expect(rankHeaders(rank(labels))).toEqual({});
});
