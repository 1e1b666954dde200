// What runs in the Worker beside the objects: asks them for picks, without HTTP between, and keeps what endpoints
// have cached.
//
// It does what Workers do for requests but for the requests themselves: the shard by the map that it was told, a
// pick, the end of it some time later. Time is the driver's own, and stands still while objects are slower than
// the rate of the order: so every pool is asked the same at the same time.

import { CONTENT_BLOCK_TOKENS } from "../../src/scheduler/kv/content-keys.ts";
import type { PickRequest } from "../../src/durable/contract.ts";
import type { ShardMap } from "../../src/scheduler/shards/contracts.ts";
import { prepareShards, shardOf } from "../../src/scheduler/shards/shard-of.ts";
import type { Batch, BatchAnswer, BatchEnd } from "./batch.ts";
import { BlockCache, keysOf, Traffic, type Turn } from "./traffic.ts";

/** What comes in this time goes with one call to each object. */
const TICK_MS = 20;
/**
 * Of an endpoint, one prompt after the other: at the rate of the order it is half busy. Were the time to the first token the
 * same whatever was sent there, objects would learn of engines that get faster the more they are sent.
 */
const PREFILL_MS_PER_TOKEN = 0.05;
/** Of a time to first token, what does not depend on the prompt. */
const OVERHEAD_MS = 40;
/** From the first token to the end of the answer. */
const DECODE_MS = 1_000;
/** How often each object is asked for a snapshot, which has the map. */
const SNAPSHOT_MS = 500;
const OUTPUT_TOKENS = 64;
/** Splits are planned every ten seconds: for longer than that there are no new ones. */
const SETTLED_MS = 12_000;
/** Real time in which splits must have settled. */
const SETTLE_MS_MAX = 60_000;

export interface DriveOrder {
  /** Names of the pool's objects, in their order. */
  readonly objects: readonly string[];
  readonly model: string;
  readonly seed: number;
  readonly perSecond: number;
  /** Before what counts, by the driver's time; longer while splits are new and `awaitsSplits`. */
  readonly warmUpMs: number;
  readonly awaitsSplits: boolean;
  readonly measureMs: number;
  /** Of one endpoint. */
  readonly cacheBlocks: number;
}

export interface DriveReport {
  readonly decisions: number;
  readonly seconds: number;
  /** With the warm-up. */
  readonly allSeconds: number;
  /** Where what counts began, by the driver's time. */
  readonly measuredFromMs: number;
  readonly promptTokens: number;
  readonly cachedTokens: number;
  /** By the driver's time. */
  readonly ttftP90Ms: number;
  /** Of `decisions`, at each object. */
  readonly perObject: readonly number[];
  readonly splits: number;
  /** Why there was no grant, and how often; with those of the warm-up. */
  readonly refused: Readonly<Record<string, number>>;
}

export interface DriverEnv {
  readonly POOL: { getByName(name: string): { drive(batch: Batch): Promise<BatchAnswer> } };
}

/** A turn that is being picked for. */
interface Asked {
  readonly turn: Turn;
  readonly request: PickRequest;
}

/** An answer that is under way. */
interface UnderWay {
  readonly turn: Turn;
  readonly shard: number;
  readonly endpoint: string;
  readonly end: BatchEnd;
  readonly endsMs: number;
}

export class Driver {
  readonly #env: DriverEnv;
  readonly #order: DriveOrder;
  readonly #traffic: Traffic;
  readonly #caches = new Map<string, BlockCache>();
  /** By endpoint: when what was sent there will have been computed, by the driver's time. */
  readonly #busyUntilMs = new Map<string, number>();
  /** By endpoint: requests under way, as its metrics tell. */
  readonly running = new Map<string, number>();
  readonly #refused: Record<string, number> = {};
  readonly #snapshotAtMs: number[];
  /** Earliest end first. */
  #underWay: UnderWay[] = [];
  #map: ShardMap;
  #shards;
  #nowMs = 0;
  /** Of the last change, in real time. */
  #mapAtMs = 0;
  #requestCount = 0;
  #isMeasured = false;
  readonly #counted = { decisions: 0, promptTokens: 0, cachedTokens: 0 };
  readonly #perObject: number[];
  readonly #ttftsMs: number[] = [];

  constructor(env: DriverEnv, order: DriveOrder) {
    this.#env = env;
    this.#order = order;
    this.#traffic = new Traffic(order.seed);
    this.#map = { count: order.objects.length, version: 0, splits: [] };
    this.#shards = prepareShards(this.#map);
    this.#perObject = order.objects.map(() => 0);
    this.#snapshotAtMs = order.objects.map(() => 0);
  }

  async run(): Promise<DriveReport> {
    const { warmUpMs, measureMs, awaitsSplits } = this.#order;
    const beganMs = Date.now();
    await this.#send(() => {
      const nowMs = Date.now();
      // A conversation that changes its object loses what that one knew of it: once.
      const isSettled = this.#map.splits.length > 0 && nowMs - this.#mapAtMs >= SETTLED_MS;
      const isSpread = !awaitsSplits || isSettled || nowMs - beganMs >= SETTLE_MS_MAX;
      return isSpread && this.#nowMs >= warmUpMs;
    });
    this.#isMeasured = true;
    const startedMs = Date.now();
    const measuredFromMs = this.#nowMs;
    const endMs = measuredFromMs + measureMs;
    await this.#send(() => this.#nowMs >= endMs);
    const endedMs = Date.now();
    return {
      ...this.#counted,
      ttftP90Ms: percentile90(this.#ttftsMs),
      seconds: (endedMs - startedMs) / 1_000,
      allSeconds: (endedMs - beganMs) / 1_000,
      measuredFromMs,
      perObject: this.#perObject,
      splits: this.#map.splits.length,
      refused: this.#refused,
    };
  }

  async #send(isOver: () => boolean): Promise<void> {
    const perTick = (this.#order.perSecond * TICK_MS) / 1_000;
    let dueMs = Date.now();
    while (!isOver()) {
      const startedMs = Date.now();
      // A tick that took too long is made up for by the next ones, a pause is not.
      dueMs = Math.max(dueMs + TICK_MS, startedMs);
      this.#nowMs += TICK_MS;
      const ends = this.#takeEnds();
      const batches = this.#order.objects.map(() => [] as Asked[]);
      for (let i = 0; i < perTick; i++) this.#ask(batches, startedMs);
      await Promise.all(batches.map((batch, shard) => this.#call(shard, batch, ends[shard]!)));
      const leftMs = dueMs - Date.now();
      if (leftMs > 0) await pause(leftMs);
    }
  }

  #ask(batches: readonly Asked[][], realMs: number): void {
    const turn = this.#traffic.next(this.#nowMs);
    const keys = keysOf(turn.blocks);
    const number = ++this.#requestCount;
    const shard = shardOf(keys, this.#shards, number);
    const isOld = realMs - this.#snapshotAtMs[shard]! >= SNAPSHOT_MS;
    if (isOld) this.#snapshotAtMs[shard] = realMs;
    const edge = isOld ? { edge: { epoch: "", version: 0 } } : {};
    const request = { request: this.#requestOf(turn, keys, number), attempt: 0, exclude: [] };
    batches[shard]!.push({ turn, request: { ...request, ...edge } });
  }

  async #call(shard: number, asked: readonly Asked[], ends: readonly BatchEnd[]): Promise<void> {
    if (asked.length + ends.length === 0) return;
    const object = this.#env.POOL.getByName(this.#order.objects[shard]!);
    const picks = asked.map(({ request }) => request);
    const { answers, shards } = await object.drive({ picks, ends });
    if (shards !== undefined) this.#heard(shards);
    answers.forEach((answer, i) => {
      const each = asked[i]!;
      if (answer.ok) this.#granted(each, answer.endpoint, shard);
      else this.#refused[answer.why] = (this.#refused[answer.why] ?? 0) + 1;
    });
  }

  #granted({ turn, request }: Asked, endpoint: string, shard: number): void {
    const cachedTokens = this.#serve(turn, endpoint);
    const { promptTokens } = turn;
    const ttftMs = this.#prefill(endpoint, promptTokens - cachedTokens);
    const durationMs = ttftMs + DECODE_MS;
    if (this.#isMeasured) this.#ttftsMs.push(ttftMs);
    const usage = { promptTokens, cachedTokens, completionTokens: OUTPUT_TOKENS };
    const end = { status: 200, outcome: "completed", ttftMs, durationMs, usage } as const;
    const { requestId } = request.request;
    const endsMs = this.#nowMs + durationMs;
    const before = this.#underWay.findLastIndex((each) => each.endsMs <= endsMs);
    const answer = { turn, shard, endpoint, end: { requestId, end }, endsMs };
    this.#underWay.splice(before + 1, 0, answer);
    this.running.set(endpoint, (this.running.get(endpoint) ?? 0) + 1);
    if (!this.#isMeasured) return;
    this.#counted.decisions += 1;
    this.#counted.promptTokens += promptTokens;
    this.#counted.cachedTokens += cachedTokens;
    this.#perObject[shard]! += 1;
  }

  /** For each object what has ended there. */
  #takeEnds(): BatchEnd[][] {
    const first = this.#underWay.findIndex(({ endsMs }) => endsMs > this.#nowMs);
    const ended = this.#underWay.splice(0, first === -1 ? this.#underWay.length : first);
    const ends = this.#order.objects.map(() => [] as BatchEnd[]);
    for (const { turn, shard, endpoint, end } of ended) {
      this.running.set(endpoint, this.running.get(endpoint)! - 1);
      ends[shard]!.push(end);
      this.#traffic.answered(turn, this.#nowMs);
    }
    return ends;
  }

  #requestOf({ promptTokens }: Turn, keys: Uint32Array, number: number): PickRequest["request"] {
    const { model, seed } = this.#order;
    const id = `${seed.toString(16).padStart(8, "0")}${number.toString(16).padStart(24, "0")}`;
    return {
      requestId: `fl-00000000-00-${id}`,
      model,
      tenant: "bench",
      priority: 0,
      keys,
      promptTokens,
      outputTokensMax: OUTPUT_TOKENS,
      bodyBytes: 4 * promptTokens,
    };
  }

  #heard(map: ShardMap): void {
    if (map.version <= this.#map.version) return;
    this.#map = map;
    this.#mapAtMs = Date.now();
    this.#shards = prepareShards(map);
  }

  /** Computes so many tokens after what was sent there before. Gives the time to the first token. */
  #prefill(endpoint: string, tokens: number): number {
    const startMs = Math.max(this.#nowMs, this.#busyUntilMs.get(endpoint) ?? 0);
    const endMs = startMs + tokens * PREFILL_MS_PER_TOKEN;
    this.#busyUntilMs.set(endpoint, endMs);
    return OVERHEAD_MS + endMs - this.#nowMs;
  }

  /** Tokens that were cached where it went. */
  #serve({ blocks }: Turn, endpoint: string): number {
    let cache = this.#caches.get(endpoint);
    if (cache === undefined) {
      cache = new BlockCache(this.#order.cacheBlocks);
      this.#caches.set(endpoint, cache);
    }
    return cache.serve(blocks) * CONTENT_BLOCK_TOKENS;
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function percentile90(values: readonly number[]): number {
  const sorted = Float64Array.from(values).sort();
  return sorted[Math.floor(0.9 * sorted.length)] ?? 0;
}
