// What the prefix tree learned, kept over a restart of the object.
//
//   learned ──► tail chunk ──full──► waiting ──write, once a second──► rows, oldest dropped first
//                  └───────── rewritten each second until full ───────►┘
//   checkpoint: the tree is read endpoint by endpoint into new chunks; those from before it go
//   restore:    the rows in order, one a slice
//
// The journal grows with what is learned and not with what is held: evictions are not written. A
// checkpoint therefore begins when as much was learned as the last one wrote, or when the oldest row
// is old. What a crash loses is the last second; what the bounds drop is counted.
//
// Rows are written without holding back replies (PoolStorage.putJournal), and never on the way of a
// pick. Numbers name endpoints (JournalEndpoints); an endpoint that left voids its records at once.

import {
  CHUNK_BYTES_MAX,
  decodeJournalChunk,
  JournalChunk,
} from "../../scheduler/kv/journal-chunk.ts";
import type { ApproximatePrefix } from "../../scheduler/kv/approximate-prefix.ts";
import type { EndpointTable } from "../../scheduler/model/endpoint-table.ts";
import type { Clock } from "../../scheduler/support/clock.ts";
import { JournalEndpoints } from "./journal-endpoints.ts";
import { NO_SLOT } from "../tickets/ticket.ts";

export const JOURNAL_LIMITS = {
  /** All rows. A full tree needs 21 MB. */
  bytesMax: 32 * 1024 * 1024,
  /** A row older than this is not believed. */
  ageMaxMs: 3_600_000,
  /** Between two writes. */
  writeIntervalMs: 1_000,
  /** Full chunks that wait for the next write; what is learned past them is left out. */
  waitingMax: 32,
  /** What must have been learned before a checkpoint is worth its writes. */
  checkpointBytesMin: 1024 * 1024,
  /** Blocks a checkpoint reads for one write, which takes about 5 ms then. */
  checkpointBlocksMax: 32_768,
} as const;
export type JournalLimits = Readonly<Record<keyof typeof JOURNAL_LIMITS, number>>;

/** Where the journal's rows are. */
export interface JournalStore {
  /** The first row whose sequence is above `seq`. */
  journalRow(seq: number): { readonly seq: number; readonly value: unknown } | undefined;
  putJournal(seq: number, value: Uint8Array<ArrayBuffer>): void;
  deleteJournal(seq: number): void;
  journalEndpoints(): unknown;
  putJournalEndpoints(value: unknown): void;
}

export interface PrefixJournalOptions {
  readonly store: JournalStore;
  readonly prefix: ApproximatePrefix;
  /** Holds the endpoints that the object remembers. */
  readonly table: EndpointTable;
  readonly clock: Clock;
  readonly limits?: JournalLimits;
}

/** Since construction. Blocks are (block, endpoint) pairs. */
export interface JournalCounts {
  writtenBytes: number;
  restoredBlocks: number;
  /** Learned, but left out because too much was waiting. */
  leftOutBlocks: number;
  /** Rows dropped by a bound, and rows that could not be read. */
  droppedRows: number;
  corruptRows: number;
}

interface Checkpoint {
  /** Rows below it are the checkpoint's to delete. */
  readonly belowSeq: number;
  slot: number;
  position: number;
  bytes: number;
}

export class PrefixJournal {
  readonly counts: JournalCounts = {
    writtenBytes: 0,
    restoredBlocks: 0,
    leftOutBlocks: 0,
    droppedRows: 0,
    corruptRows: 0,
  };
  readonly #options: PrefixJournalOptions;
  readonly #limits: JournalLimits;
  readonly #endpoints: JournalEndpoints;
  /** Stored rows, oldest first. */
  readonly #rows = new Map<number, { bytes: number; writtenAtMs: number }>();
  #bytes = 0;
  /** Sequence of the last row read, until all are; then undefined. */
  #restoredSeq: number | undefined = 0;
  readonly #waiting: Uint8Array<ArrayBuffer>[] = [];
  readonly #tail = new JournalChunk();
  #isTailDirty = false;
  /** Sequence of the row that comes next: the first waiting chunk, or the tail. */
  #nextSeq = 1;
  #writtenAtMs = -Infinity;
  #checkpoint: Checkpoint | undefined;
  #checkpointBytes = 0;
  #learnedBytes = 0;
  readonly #piece = new Uint32Array(CHUNK_BYTES_MAX / 4);

  constructor(options: PrefixJournalOptions) {
    this.#options = options;
    this.#limits = options.limits ?? JOURNAL_LIMITS;
    this.#endpoints = new JournalEndpoints(options.table);
    const stored = options.store.journalEndpoints();
    const isKnown = this.#endpoints.restore(stored, (slot, kvCapacityTokens) =>
      options.prefix.setCapacity(slot, kvCapacityTokens),
    );
    if (!isKnown) this.#discardRows(stored !== undefined);
  }

  /** Bytes of all rows. */
  get byteLength(): number {
    return this.#bytes;
  }

  get isRestored(): boolean {
    return this.#restoredSeq === undefined;
  }

  /** Whether `write` has something to do, now or when its interval is over. */
  get isDirty(): boolean {
    const { isDirty } = this.#endpoints;
    return (
      isDirty || this.#isTailDirty || this.#waiting.length > 0 || this.#checkpoint !== undefined
    );
  }

  /**
   * Puts the next row back into the tree. The caller repeats it until `isRestored`, and lets picks
   * pass in between; nothing is written before. One row has at most 4,094 blocks.
   */
  restoreRow(): void {
    if (this.#restoredSeq === undefined) return;
    const row = this.#options.store.journalRow(this.#restoredSeq);
    if (row === undefined) {
      this.#restoredSeq = undefined;
      this.#learnedBytes = this.#bytes;
      return;
    }
    this.#restoredSeq = row.seq;
    this.#nextSeq = row.seq + 1;
    const chunk = decodeJournalChunk(row.value);
    const isExpired =
      chunk !== undefined && chunk.writtenAtMs < this.#options.clock() - this.#limits.ageMaxMs;
    if (chunk === undefined || isExpired) {
      this.counts[isExpired ? "droppedRows" : "corruptRows"] += 1;
      this.#options.store.deleteJournal(row.seq);
      return;
    }
    const bytes = (row.value as Uint8Array).byteLength;
    this.#rows.set(row.seq, { bytes, writtenAtMs: chunk.writtenAtMs });
    this.#bytes += bytes;
    for (const { endpoint, isRemoval, keys } of chunk.records) {
      const slot = this.#endpoints.slotOf(endpoint);
      if (slot === NO_SLOT) continue;
      const { tree } = this.#options.prefix;
      if (isRemoval) tree.removeHolder(keys, slot);
      else tree.insert(keys, slot);
      this.counts.restoredBlocks += keys.length / 2;
    }
  }

  /** `slot` was learned to hold the path; its first `heldBlocks` were known before. */
  learned(keys: Uint32Array, slot: number, heldBlocks: number): void {
    const added = keys.subarray(heldBlocks * 2);
    if (added.length > 0) this.#append(slot, added, false);
  }

  /** `slot` does not hold these blocks after all. */
  forgotten(keys: Uint32Array, slot: number): void {
    if (keys.length > 0) this.#append(slot, keys, true);
  }

  /** The endpoint has left, or its engine has started anew: what was written of it is void. */
  endpointRemoved(slot: number): void {
    this.#endpoints.removed(slot);
    if (this.#checkpoint?.slot === slot) this.#checkpoint.position = 0;
  }

  /** Writes what is new, unless the last write was a moment ago. */
  write(): void {
    const nowMs = this.#options.clock();
    if (!this.isRestored || nowMs - this.#writtenAtMs < this.#limits.writeIntervalMs) return;
    this.#writtenAtMs = nowMs;
    if (this.#needsCheckpoint(nowMs)) this.#beginCheckpoint();
    const isCheckpointRead = this.#readForCheckpoint();
    if (this.#endpoints.isDirty) {
      this.#options.store.putJournalEndpoints(this.#endpoints.takeRow());
    }
    for (const chunk of this.#waiting.splice(0)) this.#put(this.#nextSeq++, chunk, nowMs);
    if (this.#isTailDirty) this.#put(this.#nextSeq, this.#tail.seal(nowMs), nowMs);
    this.#isTailDirty = false;
    if (isCheckpointRead) this.#endCheckpoint();
    this.#trim(nowMs);
  }

  #append(slot: number, keys: Uint32Array, isRemoval: boolean): void {
    const blocks = keys.length / 2;
    if (this.#tail.roomBlocks < blocks) this.#sealTail();
    if (this.#waiting.length >= this.#limits.waitingMax) {
      this.counts.leftOutBlocks += blocks;
      return;
    }
    const before = this.#tail.byteLength;
    this.#tail.append({ endpoint: this.#endpoints.numberOf(slot), isRemoval, keys });
    this.#learnedBytes += this.#tail.byteLength - before;
    this.#isTailDirty = true;
  }

  #sealTail(): void {
    if (this.#tail.isEmpty || this.#waiting.length >= this.#limits.waitingMax) return;
    this.#waiting.push(this.#tail.seal(this.#options.clock()));
    this.#tail.clear();
    this.#isTailDirty = false;
  }

  #put(seq: number, chunk: Uint8Array<ArrayBuffer>, nowMs: number): void {
    this.#options.store.putJournal(seq, chunk);
    this.counts.writtenBytes += chunk.byteLength;
    this.#bytes += chunk.byteLength - (this.#rows.get(seq)?.bytes ?? 0);
    this.#rows.set(seq, { bytes: chunk.byteLength, writtenAtMs: nowMs });
  }

  #needsCheckpoint(nowMs: number): boolean {
    if (this.#checkpoint !== undefined) return false;
    const { bytesMax, ageMaxMs, checkpointBytesMin } = this.#limits;
    const [oldest] = this.#rows.values();
    if (oldest !== undefined && oldest.writtenAtMs < nowMs - ageMaxMs / 2) return true;
    const enough = Math.min(this.#checkpointBytes, bytesMax / 4);
    return this.#learnedBytes > Math.max(checkpointBytesMin, enough);
  }

  #beginCheckpoint(): void {
    this.#sealTail();
    this.#endpoints.resized();
    this.#learnedBytes = 0;
    const belowSeq = this.#nextSeq + this.#waiting.length;
    this.#checkpoint = { belowSeq, slot: 0, position: 0, bytes: 0 };
  }

  /** Appends a part of what the tree holds. True when all of it was read. */
  #readForCheckpoint(): boolean {
    const checkpoint = this.#checkpoint;
    if (checkpoint === undefined) return false;
    const { prefix, table } = this.#options;
    let blocksLeft = this.#limits.checkpointBlocksMax;
    while (checkpoint.slot < table.columns.slotCount) {
      if (this.#tail.roomBlocks === 0) this.#sealTail();
      const blocks = Math.min(this.#tail.roomBlocks, blocksLeft);
      // Out of budget, or too much is waiting: the next write goes on.
      if (blocks === 0) return false;
      const { slot, position } = checkpoint;
      const piece = this.#endpoints.isNumbered(slot)
        ? prefix.tree.readHeld(slot, position, this.#piece.subarray(0, blocks * 2))
        : undefined;
      if (piece !== undefined && piece.keys.length > 0) {
        const before = this.#tail.byteLength;
        const endpoint = this.#endpoints.numberOf(slot);
        this.#tail.append({ endpoint, isRemoval: false, keys: piece.keys });
        this.#isTailDirty = true;
        checkpoint.bytes += this.#tail.byteLength - before;
        blocksLeft -= piece.keys.length / 2;
      }
      if (piece?.next === undefined) checkpoint.slot += 1;
      checkpoint.position = piece?.next ?? 0;
    }
    return true;
  }

  /** What the checkpoint wrote replaces everything from before it. */
  #endCheckpoint(): void {
    const { belowSeq, bytes } = this.#checkpoint!;
    this.#checkpointBytes = bytes;
    this.#checkpoint = undefined;
    for (const seq of this.#rows.keys()) {
      if (seq >= belowSeq) break;
      this.#delete(seq);
    }
  }

  #trim(nowMs: number): void {
    const { bytesMax, ageMaxMs } = this.#limits;
    for (const [seq, { writtenAtMs }] of this.#rows) {
      if (this.#bytes <= bytesMax && writtenAtMs >= nowMs - ageMaxMs) break;
      this.#delete(seq);
      this.counts.droppedRows += 1;
    }
  }

  #delete(seq: number): void {
    this.#bytes -= this.#rows.get(seq)!.bytes;
    this.#rows.delete(seq);
    this.#options.store.deleteJournal(seq);
  }

  /** Without the endpoints' numbers no row means anything. */
  #discardRows(isCorrupt: boolean): void {
    if (isCorrupt) this.counts.corruptRows += 1;
    let row = this.#options.store.journalRow(0);
    for (; row !== undefined; row = this.#options.store.journalRow(row.seq)) {
      this.#options.store.deleteJournal(row.seq);
      this.counts.droppedRows += 1;
    }
    this.#restoredSeq = undefined;
  }
}
