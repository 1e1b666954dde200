import { describe, expect, it } from "vitest";
import { judge } from "../../../src/scheduler/what-if/verdict.ts";

const both = (before: number, after = before) => ({ before, after });
const EVEN = {
  decisions: 100,
  refused: both(0),
  promptTokens: 100_000,
  hitTokens: both(50_000),
  ttftP50Ms: both(200),
  ttftP90Ms: both(1_000),
};

describe("judge", () => {
  it.for([
    { name: "no difference", change: {}, verdict: "equal" },
    { name: "times within the margin", change: { ttftP50Ms: both(200, 215) }, verdict: "equal" },
    { name: "a worse median", change: { ttftP50Ms: both(200, 216) }, verdict: "worse" },
    { name: "a worse tail", change: { ttftP90Ms: both(1_000, 1_056) }, verdict: "worse" },
    { name: "a better tail", change: { ttftP90Ms: both(1_000, 900) }, verdict: "better" },
    {
      name: "a better median with a worse tail",
      change: { ttftP50Ms: both(200, 100), ttftP90Ms: both(1_000, 1_100) },
      verdict: "worse",
    },
    {
      name: "hits within the margin",
      change: { hitTokens: both(50_000, 45_000) },
      verdict: "equal",
    },
    { name: "fewer hits", change: { hitTokens: both(50_000, 44_999) }, verdict: "worse" },
    { name: "more hits", change: { hitTokens: both(50_000, 90_000) }, verdict: "equal" },
    { name: "a refusal", change: { refused: both(0, 1) }, verdict: "equal" },
    { name: "more refusals", change: { refused: both(0, 2) }, verdict: "worse" },
    {
      name: "a thousandth refused",
      change: { decisions: 5_000, refused: both(10, 15) },
      verdict: "equal",
    },
    {
      name: "more than a thousandth refused",
      change: { decisions: 5_000, refused: both(10, 16) },
      verdict: "worse",
    },
    {
      name: "everything refused",
      change: {
        ttftP50Ms: both(200, Infinity),
        ttftP90Ms: both(1_000, Infinity),
        refused: both(0, 100),
      },
      verdict: "worse",
    },
    {
      name: "the slowest refused",
      change: { ttftP90Ms: both(1_000, 900), refused: both(0, 5) },
      verdict: "worse",
    },
    {
      name: "as much refused as before",
      change: { ttftP90Ms: both(Infinity), refused: both(20) },
      verdict: "equal",
    },
    {
      name: "much refused no more",
      change: { ttftP90Ms: both(Infinity, 1_000), refused: both(20, 0) },
      verdict: "better",
    },
    { name: "no decisions", change: { decisions: 0 }, verdict: "unknown" },
  ])("takes $name as $verdict", ({ change, verdict }) => {
    const judged = judge({ ...EVEN, ...change });
    expect(judged.verdict).toBe(verdict);
    expect(judged.reasons.length).toBeGreaterThan(0);
  });

  it("takes a margin of its caller", () => {
    const figures = { ...EVEN, ttftP50Ms: both(200, 215) };
    expect(judge(figures, { share: 0, ms: 0 }).verdict).toBe("worse");
  });
});
