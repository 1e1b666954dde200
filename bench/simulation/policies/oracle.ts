// oracle: sees the engines' queues, caches and memory as they are, and the length of every answer.
//
//   cost = (prefill ahead + own) · ms a token · (1 + INTERFERENCE · running) + time until memory is free
//          + rent of the memory it takes
//
// Own prefill counts what will be cached by the time the prompt is computed: what queued requests bring.
// It chooses greedily, one request at a time, so it is a mark to aim at and no upper bound.

import type { Engine } from "../../../src/agents/simulator/model/engine.ts";
import type { Sequence } from "../../../src/agents/simulator/model/sequence.ts";
import type { Flight } from "../flight.ts";
import type { Policy, PolicyContext, PolicyDefinition, RoutedRequest } from "../policy.ts";
import type { WorkloadRequest } from "../workload.ts";
import { cheapest } from "./prefix-books.ts";

/** Of a prefill's time, what each running request's delay by it counts. */
const INTERFERENCE = 0.02;
/** For each request there, as in latency-cost-scorer. */
const DECODE_MS = 10;
/** Of the time until memory is free: others end sooner than the last that must. */
const HELD = 0.3;
/** Fullness from which memory is as dear as it gets. */
const FULL = 0.98;

class Oracle {
  readonly #context: PolicyContext;
  /** By slot: requests that have not reached the engine. */
  readonly #onTheWay: Set<RoutedRequest>[];

  constructor(context: PolicyContext) {
    this.#context = context;
    this.#onTheWay = context.engines.map(() => new Set());
  }

  choose(request: RoutedRequest): number[] {
    const slot = cheapest(this.#context, (at) => this.#costMs(request.truth, at));
    this.#onTheWay[slot]!.add(request);
    return [slot];
  }

  leastCostMs({ truth }: RoutedRequest): number {
    return Math.min(...this.#context.engines.map((_, slot) => this.#costMs(truth, slot)));
  }

  arrived(request: RoutedRequest, slot: number): void {
    this.#onTheWay[slot]!.delete(request);
  }

  #costMs(request: WorkloadRequest, slot: number): number {
    const engine = this.#context.engines[slot]!;
    const { blockSize, timing } = engine.config;
    const queued = this.#queued(slot);
    let aheadTokens = 0;
    let neededBlocks = 0;
    let cachedBlocks = cachedIn(engine, request);
    for (const other of queued) {
      const uncached = other.promptTokens - cachedIn(engine, other) * blockSize;
      aheadTokens += uncached;
      neededBlocks += (uncached + other.outputTokens) / blockSize;
      cachedBlocks = Math.max(cachedBlocks, sharedBlocks(request, other, blockSize));
    }
    for (const { prefillCount, knownCount, computedCount } of engine.running)
      if (prefillCount > 0) aheadTokens += knownCount - computedCount;
    const ownTokens = Math.max(1, request.promptTokens - cachedBlocks * blockSize);
    neededBlocks += (ownTokens + request.outputTokens) / blockSize;
    const interference = 1 + INTERFERENCE * engine.runningCount;
    const prefillMs = timing.prefillMsPerToken * (aheadTokens + ownTokens) * interference;
    const ownBlocks = (ownTokens + request.outputTokens) / blockSize;
    const decodeMs = DECODE_MS * (engine.runningCount + queued.length);
    const memoryMs = HELD * heldMs(engine, neededBlocks) + rentMs(engine, neededBlocks, ownBlocks);
    return prefillMs + decodeMs + memoryMs;
  }

  #queued(slot: number): WorkloadRequest[] {
    const waiting = this.#context.engines[slot]!.waiting as readonly Sequence<number>[];
    const queued = waiting.map(({ content }) => (content as Flight).request.truth);
    for (const { truth } of this.#onTheWay[slot]!) queued.push(truth);
    return queued;
  }
}

/** Until running requests have given back what `neededBlocks` lack. */
function heldMs(engine: Engine<number>, neededBlocks: number): number {
  const { cache, config } = engine;
  let lacking = neededBlocks - (cache.size - cache.inUseCount);
  if (lacking <= 0) return 0;
  const ends = engine.running
    .map((sequence) => ({
      leftTokens: sequence.outputCount - sequence.generatedCount,
      // Its part of shared blocks stays with the others; cached ones are mostly shared.
      blocks: sequence.blocks.length - sequence.cachedCount / config.blockSize,
    }))
    .sort((a, b) => a.leftTokens - b.leftTokens);
  for (const { leftTokens, blocks } of ends) {
    lacking -= blocks;
    if (lacking <= 0) return leftTokens * perTokenMs(engine);
  }
  return (ends.at(-1)?.leftTokens ?? 0) * perTokenMs(engine);
}

/** What the blocks that a request takes are worth to those who come later: dear where they are scarce. */
function rentMs(engine: Engine<number>, neededBlocks: number, ownBlocks: number): number {
  const { cache, running } = engine;
  const full = Math.min(FULL, (cache.inUseCount + neededBlocks) / cache.size);
  let leftTokens = 0;
  for (const { outputCount, generatedCount } of running) leftTokens += outputCount - generatedCount;
  const serviceMs = (2 * leftTokens * perTokenMs(engine)) / Math.max(1, running.length);
  return ((ownBlocks / cache.size) * serviceMs * full * full) / (1 - full);
}

function perTokenMs({ cache, config, runningCount }: Engine<number>): number {
  const { stepMs, decodeMsPerSequence, decodeMsPerContextToken } = config.timing.roofline!;
  const contextTokens = cache.inUseCount * config.blockSize;
  return stepMs + runningCount * decodeMsPerSequence + contextTokens * decodeMsPerContextToken;
}

function cachedIn(
  { cache, config }: Engine<number>,
  { blocks, promptTokens }: WorkloadRequest,
): number {
  return cache.match(blocks, Math.floor((promptTokens - 1) / config.blockSize)).length;
}

/** Blocks at the beginning that both have. Names are chained, so the first difference ends it. */
function sharedBlocks(a: WorkloadRequest, b: WorkloadRequest, blockSize: number): number {
  if (a.blocks[0] !== b.blocks[0]) return 0;
  let [low, high] = [0, Math.floor((Math.min(a.promptTokens, b.promptTokens) - 1) / blockSize)];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (a.blocks[middle - 1] === b.blocks[middle - 1]) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** A policy, and what it takes a request to cost. */
export interface OraclePolicy extends Policy {
  /** At the endpoint where it costs least. */
  costMs(request: RoutedRequest): number;
}

export function createOracle(context: PolicyContext): OraclePolicy {
  const knowing = new Oracle(context);
  return {
    choose: (request) => knowing.choose(request),
    dispatched: (request, slot) => knowing.arrived(request, slot),
    costMs: (request) => knowing.leastCostMs(request),
  };
}

export const oracle: PolicyDefinition = {
  name: "oracle",
  about: "Knows the engines' queues, caches and memory, and how long each answer will be.",
  create: createOracle,
};
