// What clients send to a pool that may split requests: prompts that are long, short, or known already.

import { createRng } from "../../../src/scheduler/support/rng.ts";
import { poissonTimes } from "../arrivals.ts";
import { BlockNames, BlockStream } from "../block-stream.ts";
import type { Phase, Session, Slo } from "../workload.ts";

/** Requests of one kind, `share` of all. */
interface Kind {
  readonly share: number;
  readonly promptTokens: number;
  readonly outputTokens: number;
  /** Of the prompt, what each request of the kind begins with. */
  readonly sharedTokens?: number;
}

export interface SplitWorkload {
  readonly name: string;
  readonly about: string;
  readonly slo: Slo;
  /** Requests a second of eight endpoints. */
  readonly rate: number;
  readonly kinds: readonly Kind[];
}

/** Lengths are drawn within so much of their mean, either way. */
const SPREAD = 0.25;
const SENT_FOR_MS = 120_000;
/** Until queues are as long as they get. */
const WARM_UP_MS = 30_000;

/** inference-perf's for reasoning: 2 s to the first token; and a step that nobody notices. */
const SLO: Slo = { ttftMs: 2_000, tpotMs: 50 };

export const SPLIT_WORKLOADS: readonly SplitWorkload[] = [
  {
    name: "8k/200",
    about: "prompts of 8,000 tokens, answers of 200",
    slo: SLO,
    rate: 6,
    kinds: [{ share: 1, promptTokens: 8_000, outputTokens: 200 }],
  },
  {
    name: "10k/1k",
    about: "prompts of 10,000 tokens, answers of 1,000",
    slo: SLO,
    rate: 3,
    kinds: [{ share: 1, promptTokens: 10_000, outputTokens: 1_000 }],
  },
  {
    name: "mixed",
    about: "half of it chat (500/300), a third 8k/200, a sixth 10k/1k",
    slo: SLO,
    rate: 10,
    kinds: [
      { share: 1 / 2, promptTokens: 500, outputTokens: 300 },
      { share: 1 / 3, promptTokens: 8_000, outputTokens: 200 },
      { share: 1 / 6, promptTokens: 10_000, outputTokens: 1_000 },
    ],
  },
  {
    name: "short chat",
    about: "prompts of 300 tokens, answers of 300",
    slo: SLO,
    rate: 40,
    kinds: [{ share: 1, promptTokens: 300, outputTokens: 300 }],
  },
  {
    name: "warm",
    about: "prompts of 8,000 tokens of which 7,800 were sent before, answers of 200",
    slo: SLO,
    rate: 25,
    kinds: [{ share: 1, promptTokens: 8_000, outputTokens: 200, sharedTokens: 7_800 }],
  },
];

/** Requests at `rate`, each of its own session. Equal arguments, equal phases. */
export function splitPhase({ kinds }: SplitWorkload, rate: number, seed: number): Phase {
  const rng = createRng(seed);
  const names = new BlockNames();
  const shared = kinds.map(({ sharedTokens = 0 }) => new BlockStream(names).append(sharedTokens));
  const times = poissonTimes(rate, Math.round((rate * SENT_FOR_MS) / 1_000), rng);
  const sessions = times.map((startMs): Session => {
    const draw = rng();
    let index = 0;
    for (let sum = kinds[0]!.share; sum < draw && index < kinds.length - 1;) {
      index++;
      sum += kinds[index]!.share;
    }
    const { promptTokens, outputTokens, sharedTokens = 0 } = kinds[index]!;
    const vary = (tokens: number) =>
      Math.max(1, Math.round(tokens * (1 + SPREAD * (2 * rng() - 1))));
    const stream = shared[index]!.fork().append(vary(promptTokens - sharedTokens));
    const prompt = stream.tokens;
    const output = vary(outputTokens);
    const request = {
      promptTokens: prompt,
      outputTokens: output,
      outputTokensMax: null,
      blocks: stream.append(output).blocks(),
    };
    return { startMs, turns: [{ request, delayMs: 0 }] };
  });
  return { sessions, measuredFromMs: WARM_UP_MS, measuredUntilMs: Infinity };
}
