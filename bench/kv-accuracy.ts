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
/** With the engine's default of 0.25 ms a prompt token and 12 ms an answer's: 8,000 a second, and 170. */
const UNDER_LOAD_TIME_SCALE = 0.5;
const AT_REST_TIME_SCALE = 0.02;
/** Content blocks of 256 bytes by which a prediction may be off. */
const TOLERATED_BLOCKS = 1;

export interface KvAccuracyBudget {
  /** Until the caches are full and evict, before anything is counted. */
  readonly warmUp: number;
  readonly atRest: number;
  readonly underLoad: number;
}

/** So many that one mistake is half a percent at rest and a quarter under load. Takes some 100 s. */
const BUDGET: KvAccuracyBudget = { warmUp: 100, atRest: 200, underLoad: 400 };

export async function* measureKvAccuracy(budget = BUDGET): AsyncGenerator<Measurement> {
  // One request at a time waits far more than it computes.
  const atRest = await bothModes((mode) => measureAtRest(mode, budget));
  const underLoad = await bothModes((mode) => measureUnderLoad(mode, budget));
  for (const [phase, { approximate, exact }] of [
    ["at_rest", atRest],
    ["under_load", underLoad],
  ] as const) {
    yield* figures(`approximate_${phase}`, approximate, undefined);
    yield* figures(`exact_${phase}`, exact, approximate);
  }
}

/** Both at once: they meet the same machine. */
async function bothModes(
  measure: (mode: Mode) => Promise<readonly Observed[]>,
): Promise<Readonly<Record<Mode, readonly Observed[]>>> {
  const [approximate, exact] = await Promise.all([measure("approximate"), measure("exact")]);
  return { approximate, exact };
}

interface Observed extends Observation, Judgement {}

/** Nobody waits for anybody: engines need not take their time. */
async function measureAtRest(mode: Mode, budget: KvAccuracyBudget): Promise<Observed[]> {
  const stack = await AccuracyStack.start(mode, AT_REST_TIME_SCALE);
  try {
    const traffic = newTraffic();
    await askMany(stack, traffic, budget.warmUp);
    await stack.settle();
    const answers: Answer[] = [];
    for (let i = 0; i < budget.atRest; i++) {
      await askNext(stack, traffic, answers);
      await stack.settle();
    }
    return await observe(stack, answers);
  } finally {
    await stack.stop();
  }
}

async function measureUnderLoad(mode: Mode, budget: KvAccuracyBudget): Promise<Observed[]> {
  const stack = await AccuracyStack.start(mode, UNDER_LOAD_TIME_SCALE);
  try {
    const traffic = newTraffic();
    await askMany(stack, traffic, budget.warmUp);
    return await observe(stack, await askMany(stack, traffic, budget.underLoad));
  } finally {
    await stack.stop();
  }
}

function newTraffic(): Traffic {
  return new Traffic({ seed: SEED, model: MODEL, live: LIVE, answerTokens: ANSWER_TOKENS });
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
