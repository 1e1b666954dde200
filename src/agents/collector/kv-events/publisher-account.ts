// One publisher's stream, from numbered batches to a consumer: in order, each batch once, and every
// doubt said. No sockets here; whoever has them hands batches in.
//
//   live batch ──► judge ──► apply                    duplicate: dropped
//                    ├──► gap: "behind" where a replay can be had, else uncertain() and apply
//                    └──► restart: cleared() by a new process, then as a first batch
//   replay ──► judge ──► apply, or cleared() and "again" from 0, or uncertain() where history is lost
//
// A doubt ends when the cache is known to be empty, when everything was heard from the beginning, or when
// so much was stored since that nothing of before can be left: see endDoubt.

import type {
  KvEventConsumer,
  KvEventSource,
  KvUncertainReason,
} from "../../../scheduler/kv/residency/kv-event.ts";
import type { EndpointCounts } from "./counters.ts";
import { decodeBatch, type DecodedBatch } from "./decode-batch.ts";
import { parseTopic, type BatchFrames } from "./frames.ts";
import { SequenceTracker } from "./sequence.ts";

export interface PublishedBatch extends BatchFrames {
  /** Where it had to be decoded already. */
  readonly decoded?: DecodedBatch;
}

/** Where batches of a publisher go. */
export interface AccountOptions {
  readonly source: KvEventSource;
  readonly consumer: KvEventConsumer;
  readonly counts: EndpointCounts;
}

export class PublisherAccount {
  readonly #options: AccountOptions;
  readonly #tracker = new SequenceTracker();
  #isWhole = false;
  #isGone = false;
  /** A replay from 0 is on its way; what is known stays until its first answer. */
  #isRebuilding = false;
  #appliedCount = 0;
  /** Blocks stored in the GPUs' memory since there was doubt. */
  #storedSinceDoubt = 0;
  /** When the first and the last batch were made of those that are known of; publisher's seconds. */
  #knownFromS: number | undefined;
  #knownToS = -Infinity;
  /** The topic whose model is known: topics do not change while a publisher lives. */
  #topic: Uint8Array = new Uint8Array(0);
  #model = "";

  constructor(options: AccountOptions) {
    this.#options = options;
  }

  /** Everything that the publisher's cache holds was told. */
  get isWhole(): boolean {
    return this.#isWhole;
  }

  get replayFrom(): number {
    return this.#isRebuilding ? 0 : this.#tracker.replayFrom;
  }

  /** Batches applied so far: whether a replay made progress. */
  get appliedCount(): number {
    return this.#appliedCount;
  }

  /** "behind": batches are missing; nothing was applied, and it is to be handed in again. */
  takeLive(batch: PublishedBatch, canReplay: boolean): "taken" | "behind" {
    if (this.#isGone) return "taken";
    const { counts } = this.#options;
    let verdict = this.#tracker.judgeLive(batch.seq, batch.payload);
    if (verdict === "restart") {
      this.beginAnew();
      verdict = this.#tracker.judgeLive(batch.seq, batch.payload);
    }
    if (verdict === "duplicate") {
      counts.skipped.duplicate++;
      return "taken";
    }
    if (verdict !== "next") {
      if (canReplay) return "behind";
      counts.breaks.gap++;
      this.giveUp("gap");
    }
    if (batch.seq === 0) this.#isWhole = true;
    this.#apply(batch);
    return "taken";
  }

  beginReplay(): void {
    this.#tracker.beginReplay();
  }

  /** "again": stop, and ask for everything from 0. */
  takeReplayed(batch: BatchFrames): "taken" | "again" {
    if (this.#isGone) return "taken";
    this.#endRebuilding();
    const verdict = this.#tracker.judgeReplayed(batch.seq, batch.payload);
    switch (verdict) {
      case "restart":
        this.beginAnew();
        return "again";
      case "duplicate":
        return "taken";
      case "history-lost":
        this.#options.counts.replays["history-lost"]++;
        this.#distrust("history-lost");
        break;
      case "next":
        if (this.#tracker.isAtBeginning) this.#isWhole = true;
        break;
    }
    this.#apply(batch);
    return "taken";
  }

  /** The publisher has sent everything it keeps. */
  endReplay(): "done" | "again" {
    if (this.#isGone) return "done";
    this.#endRebuilding();
    if (this.#tracker.isReplayOfAnother) {
      this.beginAnew();
      return "again";
    }
    // Nothing was published yet.
    if (this.#tracker.isAtBeginning) this.#isWhole = true;
    return "done";
  }

  /**
   * Batches are lost for good: what is known is distrusted, and whatever comes next is taken. But a
   * rebuild that was never answered changes nothing: then no batch is missing.
   */
  giveUp(reason: KvUncertainReason): void {
    if (this.#isGone) return;
    if (this.#isRebuilding) {
      this.#isRebuilding = false;
      return;
    }
    this.#tracker.drift();
    this.#distrust(reason);
  }

  /** The next replay is of everything, and what is known is void once it is answered. */
  rebuild(): void {
    this.#isRebuilding = true;
  }

  /** The publisher is a new process: what was known is void, and it is heard from its beginning. */
  beginAnew(): void {
    if (this.#isGone) return;
    this.#options.counts.breaks.restart++;
    this.#isRebuilding = false;
    this.#tracker.begin();
    this.#clear(true);
  }

  /**
   * The engine's process began at that time, in seconds since 1970, and nobody can be asked what it said
   * since. Batches are made by the same machine's clock, so it shows whose they are. What comes next is
   * whole if it comes from the beginning.
   */
  engineRestarted(startedAtS: number): void {
    if (this.#isGone) return;
    const isKnown = this.#knownFromS !== undefined && this.#knownFromS >= startedAtS;
    if (isKnown) return;
    if (this.#knownToS >= startedAtS) {
      // The new one's numbers went on where the old one's had ended.
      this.#options.counts.breaks.restart++;
      this.#distrust("gap");
      return;
    }
    this.beginAnew();
    this.#isWhole = false;
  }

  /**
   * The engine's cache has room for so many blocks. Where that many were stored since the doubt began, what
   * was stored before it is gone: the cache lets go of what was not used for the longest time. A block in
   * use all the while may be there unknown; that requests find more than predicted shows with the object.
   */
  endDoubt(blocksMax: number): void {
    if (!this.#isGone && this.#storedSinceDoubt >= blocksMax) this.#isWhole = true;
  }

  /** The publisher is no longer followed. Batches that still come are dropped. */
  gone(): void {
    if (this.#isGone) return;
    this.#isGone = true;
    this.#options.consumer.gone(this.#options.source);
  }

  #endRebuilding(): void {
    if (!this.#isRebuilding) return;
    this.#isRebuilding = false;
    this.#tracker.begin();
    this.#clear(false);
  }

  #clear(isNewProcess: boolean): void {
    this.#isWhole = true;
    this.#storedSinceDoubt = 0;
    this.#knownFromS = undefined;
    this.#options.consumer.cleared(this.#options.source, isNewProcess);
  }

  #distrust(reason: KvUncertainReason): void {
    this.#isWhole = false;
    this.#storedSinceDoubt = 0;
    this.#knownFromS = undefined;
    this.#options.counts.uncertain[reason]++;
    this.#options.consumer.uncertain(this.#options.source, reason);
  }

  #apply(batch: PublishedBatch): void {
    this.#appliedCount++;
    this.#tracker.applied(batch.seq, batch.payload);
    const decoded = batch.decoded ?? decodeBatch(batch.payload);
    const { counts } = this.#options;
    if (!decoded.ok) {
      counts.skipped.undecodable++;
      this.#distrust("malformed");
      return;
    }
    this.#consume(decoded, this.#modelOf(batch.topic));
    this.#knownToS = decoded.madeAtS ?? -Infinity;
    this.#knownFromS ??= this.#knownToS;
    counts.skipped.unknown += decoded.skipped.unknown;
    counts.skipped.unkeyable += decoded.skipped.unkeyable;
    counts.skipped.malformed += decoded.skipped.malformed;
    // Behind the batch's other events: they may name the very blocks that the lost one did.
    if (decoded.skipped.malformed > 0) this.#distrust("malformed");
  }

  #consume(decoded: DecodedBatch & { ok: true }, model: string): void {
    const { consumer, source, counts } = this.#options;
    for (const event of decoded.events) {
      counts.events[event.type]++;
      switch (event.type) {
        case "stored":
          counts.blocks.stored += event.hashes.length / 2;
          if (event.tier === "gpu") this.#storedSinceDoubt += event.hashes.length / 2;
          consumer.stored(source, event, model);
          break;
        case "removed":
          counts.blocks.removed += event.hashes.length / 2;
          consumer.removed(source, event);
          break;
        case "cleared":
          this.#clear(false);
          break;
      }
    }
  }

  /** Old replays have no topic: it is the one that was seen last. */
  #modelOf(topic: Uint8Array): string {
    if (topic.length === 0 || isEqual(topic, this.#topic)) return this.#model;
    this.#topic = Uint8Array.from(topic);
    this.#model = parseTopic(topic).model;
    return this.#model;
  }
}

function isEqual(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
