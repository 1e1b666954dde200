// burst-prefix-cache-producer: keeps requests with the same prompt together that come in one burst.
//
//   group   = requests with the same blocks, or with the same first minColocateBlocks, within
//             windowDurationMs of the first of them
//   matched = all blocks on the endpoint that the group's first request went to, 0 elsewhere
//
// Source: llm-d-router pkg/epp/framework/plugins/requestcontrol/dataproducer/burstprefix. llm-d holds
// requests back for the window, groups them and places the groups. Here a pool decides one request at a
// time and knows at once where it went, so nobody waits: the first of a group goes where the other scorers
// send it, and the rest follow. It is for prompts that no cache holds yet; what is cached is for the
// approximate producer to say. A group is not split: when it is larger than an endpoint's share, set
// maxPerReplica. O(1), no allocation but for a group's first request.

import { z } from "zod";
import { CONTENT_BLOCK_TOKENS } from "../../kv/content-keys.ts";
import { ENDPOINTS_MAX } from "../../model/endpoint-table.ts";
import { type DataProducer, defineDataProducer, type PickContext } from "../../plugin.ts";

/** Prefixes remembered where maxBatchSize sets no bound. */
const PREFIXES_MAX = 10_000;

const params = z.strictObject({
  windowDurationMs: z
    .int()
    .min(1)
    .max(10_000)
    .default(100)
    .describe("Time from a group's first request to its last"),
  maxPerReplica: z
    .int()
    .min(-1)
    .default(-1)
    .describe("Requests of one window that are kept together on an endpoint; -1: any number"),
  blockSizeTokens: z.int().min(1).default(64).describe("Without effect: blocks have 64 tokens"),
  maxPrefixTokensToMatch: z
    .int()
    .min(0)
    .default(0)
    .describe("Tokens in which prompts of a group are the same; 0: all"),
  minColocateBlocks: z
    .int()
    .min(0)
    .default(0)
    .describe("Leading blocks that are enough for a group; 0: only the whole prompt is"),
  maxBatchSize: z
    .int()
    .min(-1)
    .default(1_000)
    .describe(`Prefixes remembered of a window; -1: ${PREFIXES_MAX}`),
  balanceBy: z
    .enum(["requests", "tokens"])
    .default("requests")
    .describe("Without effect: the other scorers place a group's first request"),
});
type Params = z.output<typeof params>;

interface Group {
  readonly slot: number;
  readonly untilMs: number;
}

class BurstPrefixCacheProducer implements DataProducer {
  readonly #params: Params;
  readonly #groupsMax: number;
  /** By prefix, in the order of their windows' ends. */
  readonly #groups = new Map<number, Group>();
  /** By slot: requests of the window that is open there, and its end. */
  readonly #counts = new Int32Array(ENDPOINTS_MAX);
  readonly #countedUntilMs = new Float64Array(ENDPOINTS_MAX);
  readonly #matchedBlocks = new Int32Array(ENDPOINTS_MAX);
  readonly #match = {
    matchedBlocks: this.#matchedBlocks,
    weightedBlocks: this.#matchedBlocks,
    totalBlocks: 0,
    blockTokens: CONTENT_BLOCK_TOKENS,
  };
  readonly data = { "prefix-match": this.#match };
  /** The only slot that may have a match. */
  #matchedSlot = 0;

  constructor(given: Params) {
    this.#params = given;
    this.#groupsMax = given.maxBatchSize < 0 ? PREFIXES_MAX : given.maxBatchSize;
  }

  produce(context: PickContext): void {
    const { keys } = context.request;
    this.#match.totalBlocks = keys.length / 2;
    this.#matchedBlocks[this.#matchedSlot] = 0;
    const group =
      this.#openGroup(context, this.#wholeBlocks(keys)) ??
      this.#openGroup(context, this.#leadingBlocks(keys));
    if (group === undefined || !this.#hasRoom(group.slot, context.nowMs)) return;
    this.#matchedSlot = group.slot;
    this.#matchedBlocks[group.slot] = this.#match.totalBlocks;
  }

  onPicked(context: PickContext, slot: number): void {
    const { request, nowMs } = context;
    this.#forgetEnded(nowMs);
    this.#remember(context, this.#wholeBlocks(request.keys), slot);
    this.#remember(context, this.#leadingBlocks(request.keys), slot);
    if (this.#countedUntilMs[slot]! <= nowMs) {
      this.#counts[slot] = 0;
      this.#countedUntilMs[slot] = nowMs + this.#params.windowDurationMs;
    }
    this.#counts[slot]! += 1;
  }

  onEndpointRemoved(slot: number): void {
    for (const [prefix, group] of this.#groups)
      if (group.slot === slot) this.#groups.delete(prefix);
    this.#countedUntilMs[slot] = 0;
    this.#matchedBlocks[slot] = 0;
  }

  /** The first of a group ended with the engine: the rest have nothing to share there. */
  onEndpointRestarted(slot: number): void {
    this.onEndpointRemoved(slot);
  }

  #wholeBlocks(keys: Uint32Array): number {
    const { maxPrefixTokensToMatch: tokens } = this.#params;
    const blocks = keys.length / 2;
    return tokens === 0 ? blocks : Math.min(blocks, Math.floor(tokens / CONTENT_BLOCK_TOKENS));
  }

  /** 0 where leading blocks make no group. */
  #leadingBlocks(keys: Uint32Array): number {
    const { minColocateBlocks } = this.#params;
    return minColocateBlocks <= keys.length / 2 ? minColocateBlocks : 0;
  }

  #openGroup({ request, nowMs }: PickContext, blocks: number): Group | undefined {
    if (blocks === 0) return undefined;
    const group = this.#groups.get(prefixOf(request.keys, blocks));
    return group !== undefined && nowMs < group.untilMs ? group : undefined;
  }

  #hasRoom(slot: number, nowMs: number): boolean {
    const { maxPerReplica } = this.#params;
    const count = nowMs < this.#countedUntilMs[slot]! ? this.#counts[slot]! : 0;
    return maxPerReplica < 0 || count < maxPerReplica;
  }

  #remember({ request, nowMs }: PickContext, blocks: number, slot: number): void {
    if (blocks === 0 || this.#groups.size >= this.#groupsMax) return;
    const prefix = prefixOf(request.keys, blocks);
    if (this.#groups.has(prefix)) return;
    this.#groups.set(prefix, { slot, untilMs: nowMs + this.#params.windowDurationMs });
  }

  /** Groups are in the order in which they end; one that a clock set back keeps goes with the next. */
  #forgetEnded(nowMs: number): void {
    for (const [prefix, { untilMs }] of this.#groups) {
      if (nowMs < untilMs) return;
      this.#groups.delete(prefix);
    }
  }
}

/** 53 bits of the key of the last of `blocks`, which stands for all before it. */
function prefixOf(keys: Uint32Array, blocks: number): number {
  return (keys[2 * blocks - 1]! & 0x1f_ffff) * 2 ** 32 + keys[2 * blocks - 2]!;
}

export const burstPrefixCacheProducer = defineDataProducer({
  type: "burst-prefix-cache-producer",
  stability: "alpha",
  produces: ["prefix-match"],
  params,
  notes: () => [
    "Requests are not held back for a window: the first of a group is placed by the other scorers, and " +
      "the rest of the window follow it. blockSizeTokens and balanceBy are without effect.",
  ],
  needsObject: () => "keeps together what comes at the same time from anywhere",
  create: (given) => new BurstPrefixCacheProducer(given),
});
