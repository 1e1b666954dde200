// How well the pool knows what is in engines' caches, through the whole of Fairlead: what each decision
// said to be cached where its request went, against the `cached_tokens` of the engine that served it.
//
// Four simulated engines whose caches hold a part of the conversations that go on, so that blocks are
// evicted all the time. At rest: one request at a time, and the next when what the one before it has
// changed is known. Under load: many at once. What an engine holds can change between a decision and the
// moment at which the engine begins with the request; that is part of the figure. Once with exact
// knowledge from KV events, once with the approximate index, with the same conversations.

import type { Answer, Mode } from "./kv-accuracy/stack.ts";
import { AccuracyStack } from "./kv-accuracy/stack.ts";
import { judge, type Judgement, type Observation, tokenCountsOf } from "./kv-accuracy/judge.ts";
import { Traffic } from "./kv-accuracy/traffic.ts";
import { MODEL } from "./conversation.ts";
import type { Measurement } from "./measure.ts";

export const KV_ACCURACY_NAME = "kv-accuracy";
const SEED = 11;
/** Conversations that go on at once: about twice what the caches hold. */
const LIVE = 160;
/** Some two to eight content blocks. */
const ANSWER_TOKENS = { min: 100, max: 400 } as const;
const CONCURRENCY = 24;
/** Content blocks of 256 bytes by which a prediction may be off. */
const TOLERATED_BLOCKS = 1;

export interface KvAccuracyBudget {
  /** Until the caches are full and evict, before anything is counted. */
  readonly warmUp: number;
  readonly atRest: number;
  readonly underLoad: number;
}

/** Takes some three minutes: answers come at half of an engine's usual times, one by one at rest. */
const BUDGET: KvAccuracyBudget = { warmUp: 100, atRest: 40, underLoad: 200 };

export async function* measureKvAccuracy(budget = BUDGET): AsyncGenerator<Measurement> {
  const approximate = await measureMode("approximate", budget);
  const exact = await measureMode("exact", budget);
  for (const phase of ["at_rest", "under_load"] as const) {
    yield* figures(`approximate_${phase}`, approximate[phase], undefined);
    yield* figures(`exact_${phase}`, exact[phase], approximate[phase]);
  }
}

type Phases = Readonly<Record<"at_rest" | "under_load", readonly Observed[]>>;

interface Observed extends Observation, Judgement {}

async function measureMode(mode: Mode, budget: KvAccuracyBudget): Promise<Phases> {
  const stack = await AccuracyStack.start(mode);
  try {
    const traffic = new Traffic({
      seed: SEED,
      model: MODEL,
      live: LIVE,
      answerTokens: ANSWER_TOKENS,
    });
    await askMany(stack, traffic, budget.warmUp);
    await stack.settle();
    const rest: Answer[] = [];
    for (let i = 0; i < budget.atRest; i++) {
      await askNext(stack, traffic, rest);
      await stack.settle();
    }
    const atRest = await observe(stack, rest);
    const underLoad = await observe(stack, await askMany(stack, traffic, budget.underLoad));
    return { at_rest: atRest, under_load: underLoad };
  } finally {
    await stack.stop();
  }
}

/** So many requests, CONCURRENCY at a time. */
async function askMany(stack: AccuracyStack, traffic: Traffic, count: number): Promise<Answer[]> {
  const answers: Answer[] = [];
  let asked = 0;
  const client = async () => {
    while (asked < count) {
      asked++;
      await askNext(stack, traffic, answers);
    }
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, client));
  return answers;
}

async function askNext(stack: AccuracyStack, traffic: Traffic, answers: Answer[]): Promise<void> {
  const { body, ended } = traffic.next();
  const answer = await stack.ask(body);
  if (answer !== undefined) answers.push(answer);
  ended(answer !== undefined, answer?.content);
}

async function observe(stack: AccuracyStack, answers: readonly Answer[]): Promise<Observed[]> {
  const observed: Observed[] = [];
  for (const { requestId, body } of answers) {
    const { attempts } = await stack.explain(requestId);
    const { candidates, result } = attempts.at(-1)!;
    // Known since explain has waited for it.
    const { endpoint, promptTokens, cachedTokens } = result!;
    const served = candidates.find(({ address, id }) => address === endpoint || id === endpoint);
    if (served === undefined || promptTokens === null) continue;
    const observation: Observation = {
      matchedBlocks: served.matchedBlocks,
      promptTokens,
      cachedTokens: cachedTokens ?? 0,
      tokenCounts: await tokenCountsOf(body, stack.engine),
    };
    observed.push({ ...observation, ...judge(observation) });
  }
  return observed;
}

function* figures(
  metric: string,
  observed: readonly Observed[],
  against: readonly Observed[] | undefined,
): Generator<Measurement> {
  const figure = (name: string, unit: string, of: (all: readonly Observed[]) => number) => ({
    bench: KV_ACCURACY_NAME,
    metric: `${metric}_${name}`,
    value: of(observed),
    unit,
    ratio: against === undefined ? null : of(observed) / of(against),
    against: against === undefined ? null : "approximate",
  });
  yield figure("within_block", "%", (all) =>
    percent(all, ({ blocks }) => Math.abs(blocks) <= TOLERATED_BLOCKS),
  );
  yield figure("equal", "%", (all) => percent(all, ({ blocks }) => blocks === 0));
  yield figure("error", "tokens", (all) => mean(all.map(({ tokens }) => Math.abs(tokens))));
  yield figure("cached", "%", (all) => {
    const prompt = mean(all.map(({ promptTokens }) => promptTokens));
    return (100 * mean(all.map(({ cachedTokens }) => cachedTokens))) / prompt;
  });
}

function percent(all: readonly Observed[], holds: (one: Observed) => boolean): number {
  return (100 * all.filter(holds).length) / all.length;
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
