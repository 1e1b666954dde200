// A burst fills every pool, and all of them refuse; then there is one request each 250 ms, of pools that are
// idle again. How long are those refused?
//
// Source: dynamo#14210, where marks of overload had no end: an idle worker was refused everything for 15 minutes.

import { BlockNames, BlockStream } from "../block-stream.ts";
import { DEFAULT_SHAPE } from "../pool-shape.ts";
import type { PoolChoiceDefinition } from "./choice.ts";
import { simulateRegions } from "./simulation.ts";
import { REGIONS, TOPOLOGY } from "./topology.ts";
import type { Arrival } from "./workload.ts";

const BURST = 600;
const BURST_MS = 2_000;
const AFTER = 480;
const AFTER_EVERY_MS = 250;
/** Requests in an engine, of each kind; one more is refused. */
const WAITING_MAX = 8;
const RUNNING_MAX = 16;
const PROMPT_TOKENS = 1_000;
const OUTPUT_TOKENS = 200;
const SEED = 1;

export interface StuckOverload {
  readonly choice: string;
  /** Of the burst. */
  readonly refused: number;
  /** Of those that came when all pools were idle, and how many there were. */
  readonly refusedAfter: number;
  readonly sentAfter: number;
  /** From idle pools to the first request that was served; Infinity for none. */
  readonly recoveredMs: number;
}

export function runStuckOverload(choice: PoolChoiceDefinition): StuckOverload {
  const { engine } = DEFAULT_SHAPE;
  const shape = {
    ...TOPOLOGY.shape,
    endpointCount: 1,
    engine: { ...engine, sequencesMax: RUNNING_MAX, waitingMax: WAITING_MAX },
  };
  const names = new BlockNames();
  const arrivals = Array.from({ length: BURST + AFTER }, (_, i): Arrival => {
    const afterMs = BURST_MS + (i - BURST + 1) * AFTER_EVERY_MS;
    const startMs = i < BURST ? (BURST_MS * i) / BURST : afterMs;
    const blocks = new BlockStream(names).append(PROMPT_TOKENS + OUTPUT_TOKENS).blocks();
    const request = {
      promptTokens: PROMPT_TOKENS,
      outputTokens: OUTPUT_TOKENS,
      outputTokensMax: null,
      blocks,
    };
    const session = { startMs, turns: [{ request, delayMs: 0 }] };
    return { session, sessionIndex: i, region: i % REGIONS.length };
  });
  const load = { arrivals, measuredFromMs: 0 };
  const outcomes = simulateRegions({
    topology: { ...TOPOLOGY, shape },
    choice,
    load,
    seed: SEED,
  });
  const inOrder = outcomes.toSorted((a, b) => a.sentAtMs - b.sentAtMs);
  const burst = inOrder.slice(0, BURST);
  const served = burst.filter(({ isShed }) => !isShed);
  const idleAtMs = Math.max(...served.map(({ endedAtMs }) => endedAtMs));
  const after = inOrder.slice(BURST).filter(({ sentAtMs }) => sentAtMs >= idleAtMs);
  const first = after.find(({ isShed }) => !isShed);
  return {
    choice: choice.name,
    refused: BURST - served.length,
    refusedAfter: after.filter(({ isShed }) => isShed).length,
    sentAfter: after.length,
    recoveredMs: first === undefined ? Infinity : first.sentAtMs - idleAtMs,
  };
}

/** Nobody is asked again who once said that he is full, as routers do whose marks have no end. */
export const marksWithoutEnd: PoolChoiceDefinition = {
  name: "marks without end",
  about: "A pool that has answered 429 is not asked any more.",
  create({ rttMs }) {
    const marked = new Set<number>();
    return {
      choose: () => rttMs.map((_, pool) => pool).filter((pool) => !marked.has(pool)),
      ended(_, pool, { outcome }) {
        if (outcome === "neutral") marked.add(pool);
      },
    };
  },
};
