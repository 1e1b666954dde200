// From the engines' KV events to what the pool's object is told of them.
//
//   KvEvents ──events──► PoolAccount ──content keys──► ShardStreams ──KV frames──► objects
//                            ▲
//   relays ──what prompts' content became──► learning port
//
// In a pool whose prompts are tokenized before a decision, a TokenAccount stands in the PoolAccount's place,
// and nothing is learned.
//
// Events are followed and kept account of whether a session is up or not: what an engine has said once
// it may not be able to say again. However many objects the pool has, there is one account.

import { CONTENT_BLOCK_TOKENS } from "../../scheduler/kv/content-keys.ts";
import { KeyChains } from "../../scheduler/kv/residency/key-chains.ts";
import type { KvEventConsumer } from "../../scheduler/kv/residency/kv-event.ts";
import type { ShardMap } from "../../scheduler/shards/contracts.ts";
import type { MetricRegistry } from "../../telemetry/metrics.ts";
import type { ListenAddress } from "../process/listen.ts";
import type { Logger } from "../process/logger.ts";
import type { Configure, EndpointRecord, KvMessage } from "../protocol/messages.ts";
import { ROW_FIELDS } from "../protocol/metrics-specification.ts";
import type { ScrapeResult } from "./endpoint-readings.ts";
import type { KvEvents, KvEventsMode } from "./kv-events/kv-events.ts";
import { type LearningServer, startLearningServer } from "./learning/learning-server.ts";
import { PoolAccount } from "./learning/pool-account.ts";
import { ShardStreams, type ShardStreamsOptions } from "./kv-stream/shard-streams.ts";
import type { KvKeys } from "./token-keys/flags.ts";
import { TokenAccount } from "./token-keys/token-account.ts";

/**
 * Of the blocks that an endpoint holds, the share whose content must be known before it counts as whole,
 * and that keeps it so. Prompts and answers are learned, which is nearly all; what was thought stays in caches
 * unknown, so it is not most of them. That requests find more than was predicted, the pool's object sees by itself.
 * While a relay still tells again what an earlier life knew, nothing begins to count as whole.
 */
const KNOWN_SHARE_MIN = 0.5;
const KNOWN_SHARE_KEEPS = 0.4;
/**
 * Of an engine's cache, the share that must be known before a doubt about it may end: less is known where
 * blocks hang behind one that was missed. Hybrid models have a block of the cache for each of their groups,
 * and are known by one.
 */
const FOLLOWED_SHARE_MIN = 0.25;
/** How often these are looked at. */
const JUDGE_MS = 200;
const PROCESS_START = ROW_FIELDS.indexOf("process-start");
const KV_BLOCKS = ROW_FIELDS.indexOf("kv-blocks");

export interface KvResidencyOptions {
  readonly mode: KvEventsMode;
  /** What the object is told of; content where absent. */
  readonly keys?: KvKeys;
  /** Where relays tell what content became, with the pool's agent token; null: nowhere. */
  readonly learnListen: ListenAddress | null;
  readonly token: string;
  readonly send: ShardStreamsOptions["send"];
  readonly logger: Logger;
  readonly registry: MetricRegistry;
}

export class KvResidency {
  readonly #account: PoolAccount | TokenAccount;
  readonly #streams: ShardStreams;
  readonly #chains: KeyChains;
  #events: KvEvents | undefined;
  #learning: LearningServer | undefined;
  /** Endpoints of whose blocks enough is known, as of #judgedAtMs. */
  #learned: ReadonlySet<string> = new Set();
  #judgedAtMs = -Infinity;
  /** Blocks that the caches of an endpoint's engine have room for, where it says so. */
  readonly #cacheBlocks = new Map<string, number>();

  private constructor({ send, registry, keys }: KvResidencyOptions) {
    const tellAgain = (endpoint: string) => {
      if (this.#account instanceof TokenAccount) this.#account.tellAgain(endpoint);
    };
    this.#chains = new KeyChains(keys === "tokens" ? CONTENT_BLOCK_TOKENS : 1);
    this.#streams = new ShardStreams({
      send,
      registry,
      chains: this.#chains,
      // Content that is learned is bounded for all endpoints together, below what is too much for one.
      ...(keys === "tokens" ? { tellAgain } : {}),
      sourceAt: (slot) => this.#account.sourceAt(slot),
      whole: () => this.#whole(),
      tokensUpTo: (low, high) => this.#account.tokensUpTo(low, high),
    });
    this.#account =
      keys === "tokens"
        ? new TokenAccount(this.#streams, this.#chains)
        : new PoolAccount(this.#streams, this.#chains);
    registry.onRender(() => this.#account.render(registry));
  }

  /** Rejects if an address to listen on cannot be had, or the platform has no ZeroMQ. */
  static async start(options: KvResidencyOptions): Promise<KvResidency> {
    const residency = new KvResidency(options);
    const { mode, learnListen: listen, token, logger, registry } = options;
    // ZeroMQ is native code: a platform without it can still collect everything else.
    const { KvEvents } = await import("./kv-events/kv-events.ts");
    const account = residency.#account;
    const consumer = residency.#consumer();
    residency.#events = await KvEvents.start({ mode, consumer, logger, registry });
    if (listen === null || account instanceof TokenAccount) return residency;
    try {
      const clock = () => performance.now();
      residency.#learning = await startLearningServer({ listen, token, account, registry, clock });
    } catch (error) {
      await residency.close();
      throw error;
    }
    return residency;
  }

  /** Where publishers dial, if they do. */
  get boundUrl(): string | undefined {
    return this.#events?.boundUrl;
  }

  /** Where relays tell what they learned, if they do. */
  get learnPort(): number | undefined {
    return this.#learning?.port;
  }

  /** These endpoints and no others. The object does not have the list yet. */
  follow(endpoints: readonly EndpointRecord[]): void {
    const ids = new Set(endpoints.map(({ id }) => id));
    for (const id of this.#cacheBlocks.keys()) if (!ids.has(id)) this.#cacheBlocks.delete(id);
    this.#events?.follow(endpoints);
    this.#streams.follow(endpoints);
  }

  /** The endpoint's engine was asked for its metrics; the values are those of ROW_FIELDS. */
  engineRead(endpoint: string, { isNewProcess, values }: ScrapeResult): void {
    if (isNewProcess) this.#events?.engineRestarted(endpoint, values[PROCESS_START]!);
    const blocks = values[KV_BLOCKS];
    if (blocks !== undefined && blocks > 0) this.#cacheBlocks.set(endpoint, blocks);
  }

  /** A new connection of a shard's session. */
  connected(shard = 0): void {
    this.#streams.at(shard)?.connected();
  }

  configured({ kvWindowBytes, kvTokenEnds }: Configure, shard = 0): void {
    this.#streams.at(shard)?.configured(kvWindowBytes, kvTokenEnds);
  }

  /** A shard's object has the list of endpoints that is followed. */
  listed(shard = 0): void {
    this.#streams.at(shard)?.listed();
  }

  received(message: KvMessage, shard = 0): void {
    this.#streams.at(shard)?.received(message);
  }

  /** There is a session with a shard's object. */
  opened(shard: number): void {
    this.#streams.open(shard);
  }

  /** A shard's session has ended for good. */
  left(shard: number): void {
    this.#streams.close(shard);
  }

  /** The pool is spread so from now on; the sessions that it needs are there. */
  mapped(map: ShardMap): void {
    this.#streams.use(map);
  }

  /** Whether an object that leaves knows nothing that another one does not know of as well. */
  get isMoved(): boolean {
    return this.#streams.isMoved;
  }

  /** Sends what has changed. */
  flush(): void {
    this.#streams.flush();
  }

  async close(): Promise<void> {
    this.#events?.close();
    await this.#learning?.close();
  }

  #consumer(): KvEventConsumer {
    const account = this.#account;
    return {
      stored: (source, event) => account.stored(source, event),
      removed: (source, event) => account.removed(source, event),
      cleared: (source, isNewProcess) => account.cleared(source, isNewProcess),
      uncertain: (source) => {
        this.#streams.doubted();
        account.uncertain(source);
      },
      gone: (source) => account.gone(source),
    };
  }

  /** By endpoint: whether what is told of it is all that it holds, and where a request would meet it. */
  #whole(): ReadonlyMap<string, boolean> {
    const isDue = performance.now() >= this.#judgedAtMs + JUDGE_MS;
    if (isDue) this.#events?.endDoubts((id) => this.#blocksToStore(id));
    const whole = this.#events?.whole() ?? new Map<string, boolean>();
    if (isDue) this.#judge(whole.keys());
    // What one rank holds another one computes anew, and the engine chooses the rank.
    for (const id of this.#events?.ofSeveralRanks() ?? []) whole.set(id, false);
    for (const id of whole.keys()) if (this.#account.lacksBlocks(id)) whole.set(id, false);
    if (!(this.#account instanceof PoolAccount)) return whole;
    // Until it is known what content became, what is told is true, and less than all.
    for (const id of whole.keys()) if (!this.#learned.has(id)) whole.set(id, false);
    return whole;
  }

  /** What an endpoint must have stored before a doubt about it ends; undefined while it may not. */
  #blocksToStore(id: string): number | undefined {
    const blocks = this.#cacheBlocks.get(id);
    if (blocks === undefined) return undefined;
    return this.#account.heldBlocks(id) >= blocks * FOLLOWED_SHARE_MIN ? blocks : undefined;
  }

  #judge(ids: Iterable<string>): void {
    this.#judgedAtMs = performance.now();
    const account = this.#account;
    if (!(account instanceof PoolAccount)) return;
    const before = this.#learned;
    const learned = new Set<string>();
    const isBeingToldAgain = this.#learning?.isBeingToldAgain === true;
    for (const id of account.contentBlocks === 0 ? [] : ids) {
      if (isBeingToldAgain && !before.has(id)) continue;
      const shareMin = before.has(id) ? KNOWN_SHARE_KEEPS : KNOWN_SHARE_MIN;
      if (account.knownShare(id) >= shareMin) learned.add(id);
    }
    this.#learned = learned;
  }
}
