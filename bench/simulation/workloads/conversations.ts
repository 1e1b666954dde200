// Conversations: each turn's prompt is everything said before, and what is new.
//
//   prompt of turn k = shared system prompt + private context + input 1 + answer 1 + … + input k
//
// Lengths are drawn as inference-perf draws them. There, a fixed number of conversations is kept
// going, so that a slow router is asked less; here conversations begin at a rate that does not depend
// on the router, so that all routers get the same work, and each is new. A run begins with a pool
// that already has some: those of the first part of the time are not measured.
//
// Source: inference-perf inference_perf/datagen/replay/conversation_replay_datagen.py.

import { createRng, type Rng } from "../../../src/scheduler/support/rng.ts";
import { poissonTimes } from "../arrivals.ts";
import { BlockNames, BlockStream } from "../block-stream.ts";
import { type Distribution, draw, drawCount } from "../distributions.ts";
import { fullBlocks, type Phase, type Session, type Turn, type Workload } from "../workload.ts";

export interface ConversationShape {
  readonly sharedTokens: number;
  readonly privateTokens: Distribution;
  readonly turns: Distribution;
  readonly inputTokens: Distribution;
  readonly outputTokens: Distribution;
  /** Between an answer and the next turn; none for tools that answer at once. */
  readonly pauseS: Distribution | undefined;
  /** A conversation ends before a turn that would be longer. */
  readonly modelLengthMax: number;
  /** Requests of the run, about: those that are not measured included. */
  readonly requests: number;
  /** Share of the time in which conversations begin that only warms up. */
  readonly warmUpShare: number;
}

export function conversationWorkload(
  workload: Omit<Workload, "create">,
  shape: ConversationShape,
): Workload {
  return { ...workload, create: (rate, seed) => [createPhase(shape, rate, seed)] };
}

function createPhase(shape: ConversationShape, rate: number, seed: number): Phase {
  const rng = createRng(seed);
  const names = new BlockNames();
  const shared = new BlockStream(names).append(shape.sharedTokens);
  const conversations: Turn[][] = [];
  let requests = 0;
  while (requests < shape.requests) {
    const turns = createTurns(shape, shared.fork(), rng);
    if (turns.length > 0) conversations.push(turns);
    requests += turns.length;
  }
  const turnsMean = requests / conversations.length;
  const times = poissonTimes(rate / turnsMean, conversations.length, createRng(seed + 1));
  const sessions = conversations.map((turns, i): Session => ({ startMs: times[i]!, turns }));
  const lastStartMs = times.at(-1)!;
  return {
    sessions,
    measuredFromMs: lastStartMs * shape.warmUpShare,
    // Afterwards the pool runs empty, which is not the load that was asked for.
    measuredUntilMs: lastStartMs,
  };
}

function createTurns(shape: ConversationShape, stream: BlockStream, rng: Rng): Turn[] {
  stream.append(drawCount(shape.privateTokens, rng));
  const lengths: { readonly promptTokens: number; readonly outputTokens: number }[] = [];
  const turnsMax = drawCount(shape.turns, rng);
  while (lengths.length < turnsMax) {
    const inputTokens = drawCount(shape.inputTokens, rng);
    const outputTokens = drawCount(shape.outputTokens, rng);
    if (stream.tokens + inputTokens + outputTokens > shape.modelLengthMax) break;
    const promptTokens = stream.append(inputTokens).tokens;
    stream.append(outputTokens);
    lengths.push({ promptTokens, outputTokens });
  }
  const blocks = stream.blocks();
  return lengths.map(({ promptTokens, outputTokens }, i) => ({
    request: {
      promptTokens,
      outputTokens,
      // Clients of chats rarely say how long an answer may be.
      outputTokensMax: null,
      blocks: blocks.subarray(0, fullBlocks(promptTokens + outputTokens)),
    },
    delayMs: i === 0 || shape.pauseS === undefined ? 0 : 1_000 * draw(shape.pauseS, rng),
  }));
}

/** Lengths and pauses of llm-d's interactive-chat. */
export const INTERACTIVE_CHAT = {
  sharedTokens: 1_000,
  privateTokens: { kind: "lognormal", min: 500, max: 15_000, mean: 4_000, stdDev: 2_500 },
  turns: { kind: "lognormal", min: 1, max: 15, mean: 4, stdDev: 2.5 },
  inputTokens: { kind: "lognormal", min: 10, max: 1_000, mean: 50, stdDev: 40 },
  outputTokens: { kind: "normal", min: 10, max: 1_000, mean: 300, stdDev: 150 },
  pauseS: { kind: "lognormal", min: 5, max: 300, mean: 45, stdDev: 40 },
  modelLengthMax: 40_960,
} as const satisfies Partial<ConversationShape>;
