// Turns what an engine's cache does into events, a batch whenever the engine has moved.
//
// It also keeps the tier below the GPU, because what moves there is told by the same events:
//
//   GPU evicts a block ──► on the CPU already: its age is reset
//                     └──► else stored there, the oldest leaves
//
// The CPU's event comes before the GPU's removal. It names hashes only, and a subscriber that forgot
// them with the removal could not know what they hold.

import type { BlockHash } from "../model/block-hash.ts";
import type { TokenContent } from "../model/token-content.ts";
import type { CacheObserver } from "../engine-runner.ts";
import { encodeBatch } from "./encode-batch.ts";
import type { KvEvent, StoredContent } from "./event.ts";
import { HashLru } from "./hash-lru.ts";
import type { KvEventPublisher } from "./publisher.ts";
import type { SharedStorage } from "./shared-storage.ts";
import type { WireForm } from "./wire-form.ts";

/** Events of one batch; more make another. */
const BATCH_EVENTS_MAX = 1_024;
/** Events that wait while there is no publisher yet; more are forgotten, as if nobody listened. */
const PENDING_EVENTS_MAX = 65_536;

export interface ReporterOptions {
  /** Whether anybody is told; the tiers are kept in any case. */
  readonly isPublished: boolean;
  readonly form: WireForm;
  /** Length of a whole hash. */
  readonly hashBytes: number;
  readonly blockSize: number;
  /** Data-parallel rank, counted over all hosts. */
  readonly rank: number;
  /** Names of adapters; the first has id 1. */
  readonly loras: readonly string[];
  /** Blocks of the CPU tier; 0: there is none. */
  readonly cpuBlocks: number;
  /** When the GPU's blocks are copied there. */
  readonly offloadWhen: "evicted" | "stored";
  readonly storage: SharedStorage | undefined;
  /** Tokens that some layers see; 0: all see everything. */
  readonly slidingWindow: number;
}

export class CacheReporter implements CacheObserver {
  readonly #options: ReporterOptions;
  readonly #cpu: HashLru | undefined;
  /** Of the blocks on the GPU, where events of the CPU tier describe blocks; else empty. */
  readonly #contents = new Map<BlockHash, { readonly content: StoredContent; copies: number }>();
  #pending: KvEvent[] = [];
  #publisher: KvEventPublisher | undefined;

  constructor(options: ReporterOptions) {
    this.#options = options;
    this.#cpu = options.cpuBlocks > 0 ? new HashLru(options.cpuBlocks) : undefined;
  }

  /** Hashes in the CPU tier, oldest first. */
  get cpuHashes(): Iterable<BlockHash> {
    return this.#cpu?.hashes ?? [];
  }

  /** Publishes from now on, what has happened so far first. */
  attach(publisher: KvEventPublisher): void {
    this.#publisher = publisher;
    this.flush();
  }

  blocksStored(content: TokenContent, first: number, end: number): void {
    const hashes = content.hashes(end).slice(first, end);
    if (this.#options.isPublished) {
      const described = this.#contentOf(content, first, end);
      this.#push({ kind: "stored", tier: "gpu", hashes, content: described });
    }
    if (this.#cpu !== undefined && this.#options.form.offload === "described") {
      for (let i = first; i < end; i++) {
        const hash = hashes[i - first]!;
        const known = this.#contents.get(hash);
        if (known !== undefined) known.copies++;
        else this.#contents.set(hash, { content: this.#contentOf(content, i, i + 1), copies: 1 });
      }
    }
    if (this.#options.offloadWhen === "stored") this.#offload(hashes);
    else for (const hash of hashes) this.#cpu?.touch(hash);
    this.#options.storage?.add(hashes);
  }

  removed(hash: BlockHash): void {
    if (this.#options.offloadWhen === "evicted") this.#offload([hash]);
    const described = this.#contents.get(hash);
    if (described !== undefined && --described.copies === 0) this.#contents.delete(hash);
    this.#push({ kind: "removed", tier: "gpu", hashes: [hash] });
  }

  windowStored(content: TokenContent, first: number, end: number): void {
    if (!this.#options.isPublished) return;
    const hashes = content.hashes(end).slice(first, end);
    const described = this.#contentOf(content, first, end);
    this.#push({ kind: "stored", tier: "gpu", window: this.#window, hashes, content: described });
  }

  windowRemoved(hash: BlockHash): void {
    this.#push({ kind: "removed", tier: "gpu", window: this.#window, hashes: [hash] });
  }

  get #window(): number {
    return this.#options.slidingWindow;
  }

  isElsewhere(hash: BlockHash): boolean {
    return this.#cpu?.has(hash) === true || this.#options.storage?.has(hash) === true;
  }

  /** Every block of the engine was dropped, and says so. What is in shared storage stays. */
  cleared(): void {
    this.#forget();
    this.#push({ kind: "cleared" });
    this.flush();
  }

  /** The engine begins anew, which nobody tells. Nothing is pending: whatever happened was flushed. */
  restarted(): void {
    this.#forget();
  }

  flush(): void {
    this.#options.storage?.flush();
    if (this.#publisher === undefined) return;
    const { form, hashBytes, rank } = this.#options;
    while (this.#pending.length > 0) {
      const events = this.#pending.splice(0, BATCH_EVENTS_MAX);
      this.#publisher.publish(
        encodeBatch({ atS: Date.now() / 1_000, rank, events }, form, hashBytes),
      );
    }
  }

  #forget(): void {
    this.#cpu?.clear();
    this.#contents.clear();
  }

  #push(event: KvEvent): void {
    if (this.#options.isPublished && this.#pending.length < PENDING_EVENTS_MAX)
      this.#pending.push(event);
  }

  #contentOf(content: TokenContent, first: number, end: number): StoredContent {
    const { blockSize, loras } = this.#options;
    const { lora, cacheSalt } = content;
    return {
      parent: first === 0 ? undefined : content.hashes(first)[first - 1]!,
      tokenIds: content.tokens(first, end),
      blockSize,
      lora: lora === undefined ? undefined : { id: loras.indexOf(lora) + 1, name: lora },
      cacheSalt,
      extras: Array.from({ length: end - first }, (_, i) => content.extras(first + i)),
    };
  }

  #offload(hashes: readonly BlockHash[]): void {
    if (this.#cpu === undefined) return;
    const { added, removed } = this.#cpu.put(hashes);
    if (removed.length > 0) this.#push({ kind: "removed", tier: "cpu", hashes: removed });
    if (added.length === 0) return;
    if (this.#options.form.offload === "tokenless") {
      this.#push({ kind: "stored", tier: "cpu", hashes: added });
      return;
    }
    for (const hash of added) {
      const { content } = this.#contents.get(hash)!;
      this.#push({ kind: "stored", tier: "cpu", hashes: [hash], content });
    }
  }
}
