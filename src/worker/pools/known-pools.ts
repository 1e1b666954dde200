// What this isolate knows of pools: their summaries, digests of what their caches hold, and which of them
// are drained. It comes with the configuration, in the same call, and summaries also with picks.
//
// Nothing here is ever unavailable. While the directory is away, what is known ages until its readers
// take it for stale, and a digest that no summary has named for a while is dropped.
//
// When a summary left its pool is reckoned by this isolate's clock, from when the read began: the way
// counts as age, so that nothing seems younger than it is.

import { DEPLOYMENT_LIMITS } from "../../config/deployment.ts";
import type { PoolDigest, PoolsKnown, PoolsRead } from "../../durable/directory/contract.ts";
import { decodePoolContent, type PoolContent } from "../../scheduler/kv/digest/joined-digest.ts";
import type { HeardSummary } from "../../scheduler/pools/contracts.ts";
import { SummaryOrder } from "../../scheduler/pools/summary-order.ts";
import type { PoolSummary } from "../../scheduler/pools/summary.ts";

/** Digests held at once: as many as the directory heeds in one read, DIGESTS_WANTED_MAX. */
export const DIGESTS_HELD_MAX = 64;
/** Digests are held of pools that a request could have gone to during this time. */
export const DIGEST_WANTED_MS = 60_000;
/** A pool's digest is read anew at most this often, and less often the more bytes all of them have. */
export const DIGEST_REFRESH_MS = 5_000;
export const DIGEST_BYTES_PER_SECOND = 128 * 1024;
/**
 * The directory is told this often that a pool's digest is of use, though there is none, or no newer one: pools
 * make them only where they are.
 */
export const DIGEST_ASK_INTERVAL_MS = 20_000;
/** A digest that no summary has named for so long may be about caches that have changed since. */
export const DIGEST_UNNAMED_MS = 60_000;

/** Who chooses among pools; see PoolTable. */
export interface PoolKnowledge {
  heard(heard: HeardSummary): void;
  heardDigest(pool: string, digest: PoolContent | undefined): void;
  setDrained(pools: readonly string[]): void;
  /** Everything that the directory knew at `atMs` has been told. */
  read(atMs: number): void;
}

interface HeldDigest {
  readonly version: string;
  readonly bytes: number;
  readonly readAtMs: number;
  /** When a summary named this version last. */
  namedAtMs: number;
  /** Undefined for bytes that this release cannot read. */
  readonly content: PoolContent | undefined;
}

interface Known {
  readonly order: SummaryOrder;
  heard: HeardSummary | undefined;
  digest: HeldDigest | undefined;
  /** Of caches that are gone with their engines. */
  voidDigests: readonly (string | undefined)[];
  requestedAtMs: number;
  /** When the directory was asked for the digest last. */
  askedAtMs: number;
  /** Of KnownPools.revision, when the summary or the digest was changed last, and when a drain began or ended. */
  summaryRevision: number;
  digestRevision: number;
  drainedRevision: number;
}

export class KnownPools {
  readonly #pools = new Map<string, Known>();
  #epoch = "";
  #directoryRevision = 0;
  #drained: readonly string[] = [];
  #drainedRevision = 0;
  /** When the last read that was answered began. */
  #readAtMs = -Infinity;
  /** Rises with every change. */
  #revision = 0;

  get drained(): readonly string[] {
    return this.#drained;
  }

  summaryOf(pool: string): HeardSummary | undefined {
    return this.#pools.get(pool)?.heard;
  }

  digestOf(pool: string): PoolContent | undefined {
    return this.#pools.get(pool)?.digest?.content;
  }

  /** Takes over the names of a configuration: of other pools all is forgotten, and nothing is taken. */
  configure(names: readonly string[]): void {
    const configured = new Set(names.slice(0, DEPLOYMENT_LIMITS.poolsMax));
    for (const pool of this.#pools.keys()) if (!configured.has(pool)) this.#pools.delete(pool);
    for (const pool of configured) if (!this.#pools.has(pool)) this.#pools.set(pool, unknown());
  }

  /** A request could go to any of these pools: what their caches hold is worth knowing. */
  requested(pools: readonly string[], nowMs: number): void {
    for (const pool of pools) {
      const known = this.#pools.get(pool);
      if (known !== undefined) known.requestedAtMs = nowMs;
    }
  }

  /** For the next read. */
  known(nowMs: number): PoolsKnown {
    const digests = this.#wanted(nowMs);
    return { epoch: this.#epoch, revision: this.#directoryRevision, digests };
  }

  /** `askedAtMs`: when the read began. */
  update(read: PoolsRead, askedAtMs: number): void {
    // Also where nobody has said anything since: that is what has been read.
    this.#readAtMs = Math.max(this.#readAtMs, askedAtMs);
    this.#revision += 1;
    const isSameEpoch = read.epoch === this.#epoch;
    this.#epoch = read.epoch;
    // Two reads may be answered out of turn.
    this.#directoryRevision = isSameEpoch
      ? Math.max(this.#directoryRevision, read.revision)
      : read.revision;
    for (const { json, ageMs } of read.summaries)
      this.#take(JSON.parse(json) as PoolSummary, askedAtMs - ageMs);
    for (const digest of read.digests) this.#takeDigest(digest, askedAtMs);
    if (!isSame(this.#drained, read.drained)) this.#drain(read.drained);
  }

  /** A summary that has just come with an answer of the pool's own object, which may have taken long. */
  heard(summary: PoolSummary, nowMs: number): void {
    // That of one of several objects is not the pool's: the directory tells it.
    if (summary.shard === undefined) this.#take(summary, nowMs);
  }

  /**
   * Tells `table` what has changed since `revision`, and returns the one to give next time. 0 tells all: to a
   * table that is new, or has new pools. `toldRevision`: what was returned last, for one that is told all again.
   */
  applyTo(table: PoolKnowledge, revision: number, toldRevision = revision): number {
    if (revision === this.#revision && revision > 0) return revision;
    for (const [pool, known] of this.#pools) {
      if (known.heard !== undefined && known.summaryRevision > revision) table.heard(known.heard);
      // After the summary: one that tells of no endpoints voids the digest before.
      if (known.digestRevision > revision) table.heardDigest(pool, known.digest?.content);
    }
    if (revision === 0 || this.#drainedRevision > revision) {
      // A table that is not asked for long would see nothing of a drain that has begun and ended meanwhile.
      const ended = this.#drainsEndedSince(toldRevision);
      if (ended.length > 0) table.setDrained([...this.#drained, ...ended]);
      table.setDrained(this.#drained);
    }
    table.read(this.#readAtMs);
    return this.#revision;
  }

  /** Pools that were heard of, and how long ago by their own word. */
  ages(nowMs: number): { readonly pool: string; readonly ageMs: number }[] {
    return [...this.#pools].flatMap(([pool, { heard }]) =>
      heard === undefined ? [] : [{ pool, ageMs: nowMs - heard.sentAtMs }],
    );
  }

  #drain(pools: readonly string[]): void {
    const before = this.#drained;
    this.#drained = pools;
    this.#drainedRevision = ++this.#revision;
    for (const [pool, known] of this.#pools)
      if (before.includes(pool) !== pools.includes(pool)) known.drainedRevision = this.#revision;
  }

  #drainsEndedSince(revision: number): string[] {
    return [...this.#pools].flatMap(([pool, { drainedRevision }]) =>
      drainedRevision > revision && !this.#drained.includes(pool) ? [pool] : [],
    );
  }

  #take(summary: PoolSummary, sentAtMs: number): void {
    const known = this.#pools.get(summary.pool);
    if (known === undefined || !known.order.take(summary, sentAtMs)) return;
    known.heard = { summary, sentAtMs };
    known.summaryRevision = ++this.#revision;
    const { digest } = known;
    if (summary.membership?.endpoints === 0) {
      known.voidDigests = [digest?.version ?? known.voidDigests[0], summary.digestVersion];
      known.digest = undefined;
      known.digestRevision = ++this.#revision;
    } else if (digest !== undefined && digest.version === summary.digestVersion)
      digest.namedAtMs = Math.max(digest.namedAtMs, sentAtMs);
  }

  #takeDigest({ pool, version, bytes }: PoolDigest, askedAtMs: number): void {
    const known = this.#pools.get(pool);
    if (known === undefined || known.digest?.version === version) return;
    if (known.voidDigests.includes(version)) return;
    known.digest = {
      version,
      bytes: bytes.byteLength,
      readAtMs: askedAtMs,
      namedAtMs: askedAtMs,
      content: decodePoolContent(bytes),
    };
    known.digestRevision = ++this.#revision;
  }

  /** Those that it has waited for longest come first. Drops digests that are not to be held any more. */
  #wanted(nowMs: number): PoolsKnown["digests"] {
    const isRequested = ({ requestedAtMs }: Known) => nowMs - requestedAtMs < DIGEST_WANTED_MS;
    const requested = [...this.#pools]
      .filter(([, known]) => isRequested(known))
      .toSorted(([, a], [, b]) => b.requestedAtMs - a.requestedAtMs)
      .slice(0, DIGESTS_HELD_MAX);
    const bytes = requested.reduce((sum, [, { digest }]) => sum + (digest?.bytes ?? 0), 0);
    const refreshMs = Math.max(DIGEST_REFRESH_MS, (1_000 * bytes) / DIGEST_BYTES_PER_SECOND);
    const names = new Set(requested.map(([pool]) => pool));
    this.#dropExcept(names, nowMs - DIGEST_UNNAMED_MS - refreshMs);
    const asked = requested
      .filter(([, known]) => {
        // An answer may bring a newer digest, so this is paced by their bytes as well.
        const isToBeTold = nowMs - known.askedAtMs >= Math.max(DIGEST_ASK_INTERVAL_MS, refreshMs);
        return isToBeTold || hasNewer(known, nowMs - refreshMs);
      })
      .toSorted(([, a], [, b]) => (a.digest?.readAtMs ?? 0) - (b.digest?.readAtMs ?? 0));
    for (const [, known] of asked) known.askedAtMs = nowMs;
    return asked.map(([pool, { digest }]) => ({ pool, known: digest?.version ?? "" }));
  }

  #dropExcept(names: ReadonlySet<string>, namedSinceMs: number): void {
    for (const [pool, known] of this.#pools) {
      const { digest } = known;
      if (digest === undefined || (names.has(pool) && digest.namedAtMs > namedSinceMs)) continue;
      known.digest = undefined;
      known.digestRevision = ++this.#revision;
    }
  }
}

/** There is another digest, and what is held was read by `readByMs`. */
function hasNewer({ heard, digest, voidDigests }: Known, readByMs: number): boolean {
  const version = heard?.summary.digestVersion;
  if (version === undefined || version === digest?.version) return false;
  if (voidDigests.includes(version)) return false;
  return digest === undefined || digest.readAtMs <= readByMs;
}

function unknown(): Known {
  return {
    order: new SummaryOrder(),
    heard: undefined,
    digest: undefined,
    voidDigests: [],
    requestedAtMs: -Infinity,
    askedAtMs: -Infinity,
    summaryRevision: 0,
    digestRevision: 0,
    drainedRevision: 0,
  };
}

function isSame(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((name, i) => name === b[i]);
}

/** This isolate's. */
export const knownPools = new KnownPools();
