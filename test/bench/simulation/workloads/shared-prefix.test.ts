import { describe, expect, it } from "vitest";
import { fullBlocks, type WorkloadRequest } from "../../../../bench/simulation/workload.ts";
import {
  type SharedPrefixShape,
  sharedPrefixWorkload,
} from "../../../../bench/simulation/workloads/shared-prefix.ts";

const SHAPE: SharedPrefixShape = {
  groups: 10,
  promptsPerGroup: 3,
  systemTokens: 640,
  questionTokens: 160,
  outputTokens: 320,
  questions: "repeated",
  popularity: "even",
  warmUpRate: 5,
  stageS: 7.5,
};
const ABOUT = { name: "w", about: "", slo: { ttftMs: 1, tpotMs: 1 }, saturationRate: 1 };

/** Requests of warm-up and stage. */
function requests(changes: Partial<SharedPrefixShape> = {}, seed = 1): WorkloadRequest[][] {
  const phases = sharedPrefixWorkload(ABOUT, { ...SHAPE, ...changes }).create(10, seed);
  return phases.map(({ sessions }) => sessions.map(({ turns }) => turns[0]!.request));
}
const system = ({ blocks }: WorkloadRequest) => blocks.slice(0, fullBlocks(640)).join(" ");
const prompt = ({ blocks }: WorkloadRequest) => blocks.slice(0, fullBlocks(800)).join(" ");
const answer = ({ blocks }: WorkloadRequest) => blocks.slice(fullBlocks(800)).join(" ");
const distinct = (names: readonly string[]) => new Set(names).size;

describe("shared-prefix", () => {
  it("asks for each prompt once in the warm-up, and again in the same order", () => {
    const [warmUp, stage] = requests();
    expect(warmUp).toHaveLength(30);
    expect(distinct(warmUp!.map(prompt))).toBe(30);
    expect(distinct(warmUp!.map(system))).toBe(10);
    expect(stage).toHaveLength(75);
    expect(stage!.map(prompt)).toEqual(
      Array.from({ length: 75 }, (_, i) => prompt(warmUp![i % 30]!)),
    );
    expect(distinct([...warmUp!, ...stage!].map(answer))).toBe(105);
  });

  it("shuffles by seed", () => {
    expect(requests({}, 1)).toEqual(requests({}, 1));
    const groups = (of: WorkloadRequest[]) => of.map((request) => request.blocks[0]);
    expect(groups(requests({}, 1)[0]!)).not.toEqual(groups(requests({}, 2)[0]!));
  });

  it("names as many blocks as are full", () => {
    for (const { promptTokens, outputTokens, blocks } of requests().flat()) {
      expect(promptTokens + outputTokens).toBe(1_120);
      expect(blocks).toHaveLength(fullBlocks(1_120));
    }
  });

  it("never repeats a fresh question", () => {
    const all = requests({ questions: "fresh" }).flat();
    expect(distinct(all.map(prompt))).toBe(105);
    expect(distinct(all.map(system))).toBe(10);
  });

  it("asks for few groups often when popularity is Zipf's", () => {
    const [, stage] = requests({ popularity: "zipf", questions: "fresh", stageS: 500 });
    const counts = new Map<string, number>();
    for (const request of stage!)
      counts.set(system(request), (counts.get(system(request)) ?? 0) + 1);
    const sorted = [...counts.values()].toSorted((a, b) => b - a);
    // Shares of 1, 2^-1.1 and 10^-1.1 by the sum over ten groups.
    expect(sorted[0]! / 5_000).toBeCloseTo(0.373, 1);
    expect(sorted[1]! / sorted[0]!).toBeCloseTo(2 ** -1.1, 1);
    expect(sorted[9]! / sorted[0]!).toBeCloseTo(10 ** -1.1, 1);
  });

  it("measures the stage only", () => {
    const phases = sharedPrefixWorkload(ABOUT, SHAPE).create(10, 1);
    expect(phases.map(({ measuredFromMs }) => measuredFromMs)).toEqual([Infinity, 0]);
  });
});
