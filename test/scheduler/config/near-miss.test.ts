import { expect, it } from "vitest";
import { didYouMean, nearest } from "../../../src/scheduler/config/near-miss.ts";

const WORDS = ["queue-scorer", "max-score-picker", "random-picker", "matchLengthScaleTokens"];

it.for([
  { name: "a letter too few", word: "quue-scorer", meant: "queue-scorer" },
  { name: "two letters swapped", word: "qeuue-scorer", meant: "queue-scorer" },
  { name: "another case", word: "QUEUE-SCORER", meant: "queue-scorer" },
  { name: "the beginning of a word", word: "matchLength", meant: "matchLengthScaleTokens" },
  { name: "another word", word: "latency-scorer", meant: undefined },
  { name: "a beginning that is too short", word: "max", meant: undefined },
  { name: "nothing", word: "", meant: undefined },
  { name: "a word that is too long to compare", word: "q".repeat(65), meant: undefined },
])("$name", ({ word, meant }) => {
  expect(nearest(word, WORDS)).toBe(meant);
  expect(didYouMean(word, WORDS)).toBe(meant === undefined ? "" : ` (did you mean '${meant}'?)`);
});

it("takes the closest", () => {
  expect(nearest("pickor", ["pickers", "picker", "poker"])).toBe("picker");
});
