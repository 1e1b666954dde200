import { expect, it } from "vitest";
import { flowControlled } from "../../../../bench/simulation/flow-control/configurations.ts";
import { jainOfTenants, tokensPerS } from "../../../../bench/simulation/flow-control/figures.ts";
import { runFlowControl } from "../../../../bench/simulation/flow-control/report.ts";
import { timePlot } from "../../../../bench/simulation/flow-control/time-plot.ts";

it("prints a table of each scenario, and says what it does meanwhile", () => {
  const printed: string[] = [];
  const complaints: string[] = [];
  const output = {
    print: (text: string) => void printed.push(text),
    complain: (text: string) => void complaints.push(text),
  };
  const rows = [["ours", "1 s"]];
  runFlowControl(false, output, [
    {
      title: "Test",
      about: "About it.",
      heads: ["Policy", "Wait"],
      run: (onRow) => (rows.forEach(onRow), { rows }),
    },
  ]);
  expect(printed.join("\n")).toMatch(
    /^\*\*Test\.\*\* About it\.\n\n\| Policy \| Wait \|\n.*\n\| ours /,
  );
  expect(complaints).toEqual(["Test: ours | 1 s"]);
});

it("counts tokens of what ended in the window", () => {
  const of = (tenant: string, endedAtMs: number, outputTokens: number) => ({
    tenant,
    priority: 0,
    sentAtMs: 0,
    waitMs: 0,
    endedAtMs,
    ttftMs: 1,
    tpotMs: 1,
    promptTokens: 0,
    cachedTokens: 0,
    outputTokens,
    isShed: false,
  });
  const outcomes = [of("a", 500, 10), of("b", 1_500, 30), of("b", 9_000, 99)];
  expect(tokensPerS(outcomes, 0, 2_000)).toBe(20);
  expect(jainOfTenants(outcomes, 0, 2_000)).toBeCloseTo(1_600 / (2 * 1_000), 9);
});

it("draws a panel for each variant, to one scale", () => {
  const line = [
    [0, 0.1],
    [150, 10],
  ] as const;
  const svg = timePlot(
    "Title",
    ["one", "other"],
    [
      { title: "first", lines: [line, []] },
      { title: "second <b>", lines: [line, line] },
    ],
  );
  expect(svg.match(/<g /g)).toHaveLength(2);
  expect(svg).toContain("second &lt;b&gt;");
  for (const tick of ["0.1", "1", "10"]) expect(svg).toContain(`>${tick}<`);
});

it("writes configurations that a pool would take", () => {
  const detector = { type: "predicted-ttft-detector" };
  expect(
    flowControlled("x", { fairness: "locality-fairness", detector, minCeiling: 0.8 }).name,
  ).toBe("x");
});
