import { describe, expect, it } from "vitest";
import {
  disaggregationOf,
  prefillOf,
  PREFILLERS_MAX,
  stagesOf,
} from "../../../src/scheduler/disaggregation/pick-stages.ts";
import { STAGE_HEADERS } from "../../../src/agents/protocol/headers.ts";
import type { Picked } from "../../../src/scheduler/endpoint-picker.ts";

const address = (slot: number) => `10.0.0.${slot}:8000`;
/** Slot 9 has left. */
const POOL = {
  endpoint: (slot: number) =>
    slot === 9 ? undefined : { id: `e${slot}`, address: address(slot), engine: "vllm", labels: {} },
};

function picked(stages: Partial<Picked> = {}): Picked {
  return {
    ok: true,
    slots: Int32Array.of(0, 1),
    results: { slotOf: () => undefined, firstSlot: 0 },
    matchedBlocks: 0,
    totalBlocks: 10,
    ...stages,
  };
}
const prefill = (...slots: number[]) => ({ prefill: Int32Array.from(slots) });

describe("the headers' values", () => {
  it.for([
    { name: "nothing of a whole request", stages: {}, want: undefined },
    { name: "a prefiller", stages: prefill(2), want: [address(2), "", "", ""] },
    {
      name: "the one in reserve behind it",
      stages: { ...prefill(2), prefillNext: 3 },
      want: [`${address(2)},${address(3)}`, "", "", ""],
    },
    {
      name: "as many as a relay asks",
      stages: { ...prefill(2, 3, 4, 5), prefillNext: 6 },
      want: [`${address(2)},${address(3)}`, "", "", ""],
    },
    {
      name: "nobody twice, and not the one that decodes",
      stages: { ...prefill(2, 0), prefillNext: 2 },
      want: [address(2), "", "", ""],
    },
    { name: "nobody in reserve alone", stages: { prefillNext: 3 }, want: undefined },
    {
      name: "every encoder",
      stages: { encode: Int32Array.of(4, 5) },
      want: ["", `${address(4)},${address(5)}`, "", ""],
    },
    {
      name: "the chosen rank",
      stages: { dataParallelPort: 8_000 },
      want: ["", "", address(0), ""],
    },
    { name: "the source of blocks", stages: { kvSource: 5 }, want: ["", "", "", address(5)] },
    { name: "none that has left", stages: { kvSource: 9, ...prefill(9) }, want: undefined },
  ])("name $name", ({ stages, want }) => {
    expect(stagesOf(picked(stages), POOL)).toEqual(want);
  });

  it("stand in the protocol's order", () => {
    const all = { ...prefill(2), encode: Int32Array.of(3), kvSource: 4, dataParallelPort: 8_000 };
    const values = stagesOf(picked(all), POOL)!;
    expect(Object.fromEntries(STAGE_HEADERS.map((name, i) => [name, values[i]]))).toEqual({
      "x-prefiller-host-port": address(2),
      "x-encoder-hosts-ports": address(3),
      "x-data-parallel-host-port": address(0),
      "x-kv-cache-source-host-port": address(4),
    });
  });
});

describe("the prefill", () => {
  it("is of what is not cached at the first that is asked", () => {
    const split = { ...prefill(2), prefillNext: 3, prefillMatchedBlocks: 3 };
    expect(prefillOf(picked(split), 640)).toEqual({
      slot: 2,
      tries: PREFILLERS_MAX,
      uncachedTokens: 640 - 3 * 64,
    });
    expect(prefillOf(picked({ ...prefill(2), prefillMatchedBlocks: 11 }), 640)).toEqual({
      slot: 2,
      tries: 1,
      uncachedTokens: 0,
    });
  });

  it("is none of a whole request", () => {
    expect(prefillOf(picked(), 640)).toBeUndefined();
    expect(prefillOf(picked(prefill(0)), 640)).toBeUndefined();
  });
});

it("names what was decided in llm-d's words", () => {
  const encode = { encode: Int32Array.of(4) };
  expect(disaggregationOf({})).toBe("decode-only");
  expect(disaggregationOf(prefill(2))).toBe("prefill-decode");
  expect(disaggregationOf(encode)).toBe("encode-decode");
  expect(disaggregationOf({ ...prefill(2), ...encode })).toBe("encode-prefill-decode");
});
