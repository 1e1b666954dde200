// One tenant begins to send ten times as much as each other one, with prompts ten times as long.

import type { Outcome } from "../outcome.ts";
import { DEFAULT_SHAPE } from "../pool-shape.ts";
import { simulate } from "../simulation.ts";
import { tenantsPhase } from "../workloads/tenants.ts";
import { flowControlled, GATE_OFF } from "./configurations.ts";
import { hitRate, tokensPerS, ttftS } from "./figures.ts";
import { percent, type Scenario, seconds, SENT_FROM_MS, sentIn } from "./scenario.ts";
import { type Panel, timePlot } from "./time-plot.ts";

const NOISY = "noisy";
const FROM_MS = 30_000;
const UNTIL_MS = 90_000;
const END_MS = 150_000;
const BIN_MS = 5_000;
const TITLE = "Time to first token by arrival, median: the noisy tenant and the others, seconds";

const QUIET = {
  rate: 5,
  fromMs: 0,
  untilMs: END_MS,
  documents: 10,
  documentTokens: 1_000,
  questionTokens: 200,
  outputTokens: 200,
};
const LOADS = [
  ...Array.from({ length: 19 }, (_, i) => ({ ...QUIET, tenant: `quiet-${i}` })),
  {
    ...QUIET,
    tenant: NOISY,
    rate: 10 * QUIET.rate,
    fromMs: FROM_MS,
    untilMs: UNTIL_MS,
    documentTokens: 10 * QUIET.documentTokens,
    questionTokens: 10 * QUIET.questionTokens,
  },
];

const FAIRNESS = [
  "global-strict-fairness-policy",
  "round-robin-fairness-policy",
  "program-aware-fairness",
  "weighted-token-fairness",
  "locality-fairness",
];
const POLICIES = [GATE_OFF, ...FAIRNESS.map((fairness) => flowControlled(fairness, { fairness }))];

export const noisyNeighbour: Scenario = {
  title: "A noisy neighbour",
  about:
    "20 tenants in one band. From 30 to 90 s one of them sends 50 requests/s of 12,000 tokens, each of the others " +
    "5 of 1,200 all the time; five sixths of a prompt are one of ten documents of the tenant, answers have 200 tokens. " +
    "The others' time to first token is of what they sent in that minute; hits and tokens/s of the whole until 150 s.",
  heads: ["Fairness", "Others p50", "p99", "Noisy p50", "p99", "Hits", "Tokens/s"],
  run(onRow) {
    const panels: Panel[] = [];
    const rows = POLICIES.map((policy) => {
      const phases = [tenantsPhase(LOADS, 1)];
      const { outcomes } = simulate({ shape: DEFAULT_SHAPE, policy, phases, seed: 1 });
      const noisy = outcomes.filter(({ tenant }) => tenant === NOISY);
      const quiet = outcomes.filter(({ tenant }) => tenant !== NOISY);
      const meanwhile = sentIn(quiet, FROM_MS, UNTIL_MS);
      panels.push({ title: policy.name, lines: [medians(quiet), medians(noisy)] });
      const row = [
        policy.name,
        seconds(ttftS(meanwhile, 0.5)),
        seconds(ttftS(meanwhile, 0.99)),
        seconds(ttftS(noisy, 0.5)),
        seconds(ttftS(noisy, 0.99)),
        percent(hitRate(outcomes)),
        tokensPerS(outcomes, SENT_FROM_MS, SENT_FROM_MS + END_MS).toFixed(0),
      ];
      onRow(row);
      return row;
    });
    const svg = timePlot(TITLE, ["the others", "the noisy tenant"], panels);
    return { rows, plot: { file: "flow-control-noisy-neighbour.svg", title: TITLE, svg } };
  },
};

/** Seconds of arrival and of time to first token, a point for each bin. */
function medians(outcomes: readonly Outcome[]): (readonly [number, number])[] {
  const points: (readonly [number, number])[] = [];
  for (let fromMs = 0; fromMs < END_MS; fromMs += BIN_MS) {
    const bin = sentIn(outcomes, fromMs, fromMs + BIN_MS);
    if (bin.length > 0) points.push([(fromMs + BIN_MS / 2) / 1_000, ttftS(bin, 0.5)]);
  }
  return points;
}
