// What engines say about their KV caches, in the one form that every wire encoding is decoded to, and
// the contract between whoever receives it (the collector) and whoever keeps the account.
//
//   hashes  | low 0 | high 0 | low 1 | high 1 | …     two 32-bit words a block, as content keys are
//   tokens  | block 0: blockSize ids | block 1 | …    empty where the engine did not say
//
// Hashes are the engine's own: opaque, 64 bits (longer digests by their last 8 bytes, signed ones by
// their bit pattern), and meaningful only together with their source. Nothing here refers to the wire.

/** Bounds of one event. What exceeds them is refused as malformed before it is allocated. */
export const KV_EVENT_LIMITS = {
  /** Blocks of one event: a prompt of two million tokens in blocks of 16. */
  blocksMax: 131_072,
  /** Token ids of one event. */
  tokensMax: 2_097_152,
  /** Tokens of one block. */
  blockSizeMax: 65_536,
  /** Extra keys of one block; media items that overlap it, in practice. */
  extraKeysPerBlockMax: 64,
  /** UTF-16 units of any name, salt or identifier. */
  textCharsMax: 1_024,
  /** Cache groups of a hybrid model: group indexes are below this. */
  groupsMax: 64,
  /** Data-parallel ranks of one endpoint: ranks are below this. */
  ranksMax: 256,
  /** Publishers of one endpoint: their positions are below this. */
  ranksPerEndpointMax: 14,
} as const;

/**
 * Where an engine holds a block, heaviest first. `storage` is shared by the pool rather than owned by
 * an endpoint; `unknown` is a medium that this release has no name for and must not count as memory.
 */
export const KV_TIERS = ["gpu", "cpu", "disk", "storage", "unknown"] as const;
export type KvTier = (typeof KV_TIERS)[number];

/**
 * One publisher, whose events are in order: an endpoint's data-parallel rank. Each rank has a cache
 * and hashes of its own. The same object is passed for as long as the publisher is followed, so it
 * can be the key of a Map.
 */
export interface KvEventSource {
  /** The endpoint's id, as in MEMBERSHIP; null for a storage tier that all endpoints share. */
  readonly endpoint: string | null;
  /** Position among the endpoint's publishers. 0 where there is one. */
  readonly rank: number;
}

/** What else than tokens went into a block's hash. */
export type KvExtraKey =
  /** A cache salt, or a media item of which no position is told. */
  | { readonly kind: "text"; readonly text: string }
  /** A media item; `offset` is its first token relative to the block's, negative if it began before. */
  | { readonly kind: "media"; readonly identifier: string; readonly offset: number }
  /** A digest of prompt embeddings. */
  | { readonly kind: "digest"; readonly bytes: Uint8Array };

/** The cache group of hybrid models that an event is about. */
export interface KvCacheGroup {
  readonly index: number;
  /** The engine's word, e.g. `full_attention`; null where it is not said again. */
  readonly kind: string | null;
  /** Tokens; null where there is none, or it is not said again. */
  readonly slidingWindow: number | null;
}

/** Kinds of groups whose blocks a prefix needs all of. Blocks of others leave the cache while the prefix is whole. */
export const WHOLE_PREFIX_KINDS: ReadonlySet<string> = new Set([
  "full_attention",
  "mla_attention",
  "sink_full_attention",
]);

/** Blocks are in the cache from now on. They follow each other, the first follows `parent`. */
export interface KvBlocksStored {
  readonly type: "stored";
  /** Two words a block. At least one block. */
  readonly hashes: Uint32Array;
  /** Two words; null at the start of a chain. Zero on the wire means null as well. */
  readonly parent: Uint32Array | null;
  /**
   * Ids of all blocks, joined. Empty where a lower tier does not repeat them: the hashes were stored
   * with tokens before. Its length is as the engine said, so it need not be blocks × blockSize.
   */
  readonly tokens: Uint32Array;
  /** Tokens a block; 0 where a lower tier does not say. */
  readonly blockSize: number;
  /** The name of the LoRA adapter; null for the base model. */
  readonly loraName: string | null;
  readonly tier: KvTier;
  /**
   * One entry a block, in the order in which they enter the hash; null where no block has any. The
   * adapter's name is never among them, though engines repeat it there: `loraName` says it. A cache
   * salt stands in block 0 of a chain only, wherever the engine says it. Fold in all of these, once.
   */
  readonly extraKeys: readonly (readonly KvExtraKey[])[] | null;
  /** Null where the engine has one kind of cache only. */
  readonly group: KvCacheGroup | null;
}

/** Blocks are no longer in this tier. */
export interface KvBlocksRemoved {
  readonly type: "removed";
  /** Two words a block. */
  readonly hashes: Uint32Array;
  readonly tier: KvTier;
  /** Null where the engine has one kind of cache only. */
  readonly groupIndex: number | null;
}

/** The cache is empty, on every tier. */
export interface KvAllCleared {
  readonly type: "cleared";
}

export type KvEvent = KvBlocksStored | KvBlocksRemoved | KvAllCleared;

/** Why what is known of a source can no longer be relied on. A metric label. */
export const KV_UNCERTAIN_REASONS = [
  /** Batches are missing, and the engine offers no replay, or it failed. */
  "gap",
  /** The engine's replay begins later than asked for, because its buffer had wrapped, or has a hole. */
  "history-lost",
  /** A batch or event could not be read. */
  "malformed",
] as const;
export type KvUncertainReason = (typeof KV_UNCERTAIN_REASONS)[number];

/**
 * Keeps account of what sources hold. Calls come one at a time, in the order in which the source
 * published; after replays and duplicates were sorted out, so each event comes once. Implementations
 * must not throw: an event that cannot be used is counted. Events and their arrays are fresh, and
 * the receiver's to keep.
 *
 *   (first event) ──► known ──► uncertain() ──► what is said from then on is known
 *                       │
 *                       └──► cleared() ──► known and empty
 */
export interface KvEventConsumer {
  /** `model` is what the source's topic names; "" where it names none. A LoRA name goes before it. */
  stored(source: KvEventSource, event: KvBlocksStored, model: string): void;
  removed(source: KvEventSource, event: KvBlocksRemoved): void;
  /**
   * The cache is empty: the engine said so, or is heard from its beginning. With a new process nothing of what
   * was said before means anything; otherwise hashes and groups are what they were.
   */
  cleared(source: KvEventSource, isNewProcess: boolean): void;
  /**
   * Stores and removals before this call may have been missed. What was known may be wrong and is
   * incomplete; what is said from now on is right.
   */
  uncertain(source: KvEventSource, reason: KvUncertainReason): void;
  /** The source is no longer followed. It is not named again; forget it. */
  gone(source: KvEventSource): void;
}
