// A store that all engines of the process share: what one has computed, every other can read. It
// publishes for itself, on a socket of its own, and names itself where others name a pod.
//
// Source: llm-d-kv-cache kv_connectors/llmd_fs_backend/llmd_fs_backend/event_publisher.py.

import type { Logger } from "../../process/logger.ts";
import type { Rng } from "../../../scheduler/support/rng.ts";
import type { BlockHash } from "../model/block-hash.ts";
import { encodeStorageBatch } from "./encode-batch.ts";
import type { BlocksRemoved, BlocksStored } from "./event.ts";
import { HashLru } from "./hash-lru.ts";
import { KvEventPublisher } from "./publisher.ts";
import { isBound } from "./sockets.ts";

/** The publisher this imitates. */
const FIRST_SEQUENCE = 1;
const HIGH_WATER_MARK = 100_000;
const QUEUE_MAX = 100_000;

export interface SharedStorageOptions {
  readonly blocks: number;
  readonly endpoint: string;
  readonly model: string;
}

export class SharedStorage {
  readonly #hashes: HashLru;
  readonly #publisher: KvEventPublisher;
  #pending: (BlocksStored | BlocksRemoved)[] = [];

  private constructor(blocks: number, publisher: KvEventPublisher) {
    this.#hashes = new HashLru(blocks);
    this.#publisher = publisher;
  }

  /** Rejects when the address is taken. */
  static async open(
    options: SharedStorageOptions,
    logger: Logger,
    rng: Rng,
  ): Promise<SharedStorage> {
    const publisher = await KvEventPublisher.open(
      {
        endpoint: options.endpoint,
        isBound: isBound(options.endpoint),
        replayEndpoint: undefined,
        topic: `kv@SHARED_STORAGE@${options.model}`,
        firstSequence: FIRST_SEQUENCE,
        replayHasTopic: true,
        historyMax: 1,
        highWaterMark: HIGH_WATER_MARK,
        queueMax: QUEUE_MAX,
        lossRate: 0,
        repeatRate: 0,
      },
      logger,
      rng,
    );
    return new SharedStorage(options.blocks, publisher);
  }

  get endpoint(): string {
    return this.#publisher.endpoint;
  }

  /** Oldest first. */
  get hashes(): Iterable<BlockHash> {
    return this.#hashes.hashes;
  }

  has(hash: BlockHash): boolean {
    return this.#hashes.has(hash);
  }

  /** Writes blocks that are not there yet, and makes the others young. */
  add(hashes: readonly BlockHash[]): void {
    const { added, removed } = this.#hashes.put(hashes);
    if (removed.length > 0)
      this.#pending.push({ kind: "removed", tier: "storage", hashes: removed });
    if (added.length > 0) this.#pending.push({ kind: "stored", tier: "storage", hashes: added });
  }

  flush(): void {
    if (this.#pending.length === 0) return;
    this.#publisher.publish(encodeStorageBatch(Date.now() / 1_000, this.#pending));
    this.#pending = [];
  }

  close(): Promise<void> {
    return this.#publisher.close();
  }
}
