// Groups of prompts with a long system prompt in common: llm-d's shared-prefix shapes.
//
//   G groups × P prompts, each = system prompt of the group + question
//
// As upstream, all G·P prompts are made beforehand, shuffled once, and asked for in turn, from the
// first again in every stage: questions repeat to the byte. `questions: "fresh"` makes each request's
// question new, and `popularity: "zipf"` draws the group, which is what upstream's shape is kind about.
//
// Source: inference-perf inference_perf/datagen/synthetic/shared_prefix_datagen.py; llm-d-benchmark
// workload/profiles/inference-perf.

import { createRng, type Rng } from "../../../src/scheduler/support/rng.ts";
import { poissonTimes } from "../arrivals.ts";
import { BlockNames, BlockStream } from "../block-stream.ts";
import { shuffle } from "../distributions.ts";
import type { Phase, Session, Slo, Workload, WorkloadRequest } from "../workload.ts";

export interface SharedPrefixShape {
  readonly groups: number;
  readonly promptsPerGroup: number;
  readonly systemTokens: number;
  readonly questionTokens: number;
  readonly outputTokens: number;
  readonly questions: "repeated" | "fresh";
  readonly popularity: "even" | "zipf";
  /** The warm-up stage: one pass at this many requests a second. */
  readonly warmUpRate: number;
  /** How long the measured stage goes on; in a stage of llm-d's, two passes at most. */
  readonly stageS: number;
}

/** Of the Zipf distribution over groups: the k-th is 1/k^s as popular as the first. */
const ZIPF_EXPONENT = 1.1;

export function sharedPrefixWorkload(
  workload: Pick<Workload, "name" | "about" | "saturationRate"> & { readonly slo: Slo },
  shape: SharedPrefixShape,
): Workload {
  return {
    ...workload,
    create(rate, seed) {
      const prompts = new Prompts(shape, createRng(seed));
      const passes = shape.groups * shape.promptsPerGroup;
      const rng = createRng(seed + 1);
      return [
        stage(prompts, shape.warmUpRate, passes, rng),
        { ...stage(prompts, rate, Math.floor(rate * shape.stageS), rng), measuredFromMs: 0 },
      ];
    },
  };
}

/** A stage of `count` requests, as a warm-up. */
function stage(prompts: Prompts, rate: number, count: number, rng: Rng): Phase {
  const sessions = poissonTimes(rate, count, rng).map((startMs, i): Session => ({
    startMs,
    turns: [{ request: prompts.request(i), delayMs: 0 }],
  }));
  return { sessions, measuredFromMs: Infinity, measuredUntilMs: Infinity };
}

class Prompts {
  readonly #shape: SharedPrefixShape;
  readonly #rng: Rng;
  readonly #systems: readonly BlockStream[];
  /** One for each prompt, in the order they are asked for. */
  readonly #order: readonly { readonly group: number; readonly stream: BlockStream }[];
  /** By group, the share of requests that go to it or to one before it. */
  readonly #cumulative: readonly number[];

  constructor(shape: SharedPrefixShape, rng: Rng) {
    const names = new BlockNames();
    this.#shape = shape;
    this.#rng = rng;
    this.#systems = Array.from({ length: shape.groups }, () =>
      new BlockStream(names).append(shape.systemTokens),
    );
    const order = this.#systems.flatMap((system, group) =>
      Array.from({ length: shape.promptsPerGroup }, () => ({
        group,
        stream: system.fork().append(shape.questionTokens),
      })),
    );
    this.#order = shuffle(order, rng);
    let sum = 0;
    this.#cumulative = this.#systems.map((_, i) => (sum += (i + 1) ** -ZIPF_EXPONENT));
  }

  /** The i-th request of a stage. */
  request(i: number): WorkloadRequest {
    const { systemTokens, questionTokens, outputTokens } = this.#shape;
    return {
      promptTokens: systemTokens + questionTokens,
      outputTokens,
      outputTokensMax: outputTokens,
      blocks: this.#prompt(i).append(outputTokens).blocks(),
    };
  }

  #prompt(i: number): BlockStream {
    const { questions, popularity, questionTokens } = this.#shape;
    const next = this.#order[i % this.#order.length]!;
    const group = popularity === "even" ? next.group : this.#drawGroup();
    if (questions === "fresh") return this.#systems[group]!.fork().append(questionTokens);
    if (popularity === "even") return next.stream.fork();
    const ofGroup = this.#order.filter((prompt) => prompt.group === group);
    return ofGroup[Math.floor(this.#rng() * ofGroup.length)]!.stream.fork();
  }

  #drawGroup(): number {
    const at = this.#rng() * this.#cumulative.at(-1)!;
    return this.#cumulative.findIndex((sum) => at < sum);
  }
}
