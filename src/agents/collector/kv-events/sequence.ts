// What is known of a publisher's numbering: which batches were applied, and whether it is still the
// same publisher.
//
//   applied   the last batch that was applied      ……… 5 6 7 | 8
//   live      the last number seen on the socket, behind `applied` while a replay runs ahead
//
// Numbers count batches from 0 (vLLM, SGLang) or 1 (llm-d's publishers) and begin again with each
// process. A lower number than the last live one means a new process; but one that has already
// published more than its predecessor looks like a continuation. So the last applied batch leaves a
// print behind: if the same number comes with another one, the publisher is another. A replay begins with
// that very batch, and if it is not there at all, that says so as well. llm-d's router has no such check.

/**
 * The highest number with which kept history is taken for whole. A publisher that begins at 0 and has
 * dropped exactly one batch is taken for one that begins at 1. Live, a 1 that comes first is a gap:
 * where a publisher dials, its first batch gets lost.
 */
const FIRST_SEQ_MAX = 1;
/** Bytes of a payload in its print. Its first field is the time at which it was made. */
const PRINT_BYTES = 32;

/** What to do with a live batch. */
export type LiveVerdict =
  /** Apply it. */
  | "next"
  /** It was applied: drop it. */
  | "duplicate"
  /** Batches are missing before it. */
  | "gap"
  /** Its publisher began anew: everything known is void. */
  | "restart";

/** What to do with a replayed batch. */
export type ReplayVerdict =
  | "next"
  | "duplicate"
  /** Its publisher began anew: the replay must begin at 0. */
  | "restart"
  /** Kept history begins or goes on here; batches before it are lost for good. */
  | "history-lost";

/** One per publisher. Judging does not apply: the caller applies, then calls `applied`. */
export class SequenceTracker {
  #applied: number | undefined;
  #live: number | undefined;
  #print = "";
  /** Any number continues: what was before is already given up. */
  #isAdrift = false;
  /** Batches of the current replay that were judged. */
  #replayed = 0;

  /** Where a replay begins: at the last applied batch, to see that it is the same; or at 0. */
  get replayFrom(): number {
    return this.#applied ?? 0;
  }

  /** Nothing of this publisher was applied yet. */
  get isAtBeginning(): boolean {
    return this.#applied === undefined;
  }

  /** Forgets everything: the publisher began anew. */
  begin(): void {
    this.#applied = undefined;
    this.#live = undefined;
    this.#isAdrift = false;
  }

  /** Takes up at whatever comes next. */
  drift(): void {
    this.#applied = undefined;
    this.#isAdrift = true;
  }

  judgeLive(seq: number, payload: Uint8Array): LiveVerdict {
    if (this.#live !== undefined && seq < this.#live) return "restart";
    if (seq === this.#applied && printOf(payload) !== this.#print) return "restart";
    this.#live = seq;
    if (this.#isAdrift) return "next";
    if (this.#applied === undefined) return seq === 0 ? "next" : "gap";
    if (seq <= this.#applied) return "duplicate";
    return seq === this.#applied + 1 ? "next" : "gap";
  }

  beginReplay(): void {
    this.#replayed = 0;
  }

  judgeReplayed(seq: number, payload: Uint8Array): ReplayVerdict {
    const isFirst = this.#replayed++ === 0;
    if (this.#applied === undefined) {
      return seq <= FIRST_SEQ_MAX || !isFirst ? "next" : "history-lost";
    }
    if (isFirst && seq === this.#applied) {
      return printOf(payload) === this.#print ? "duplicate" : "restart";
    }
    // Even if it is the very next: without the one before it, it may be another publisher's.
    if (isFirst && seq > this.#applied) return "history-lost";
    if (seq <= this.#applied) return "duplicate";
    return seq === this.#applied + 1 ? "next" : "history-lost";
  }

  /** After a replay came to its end: whether the publisher is known to be another one. */
  get isReplayOfAnother(): boolean {
    // The same publisher always keeps its last batch, and that is the one that was asked for.
    return this.#applied !== undefined && this.#replayed === 0;
  }

  /** Batch `seq` was applied, or could not be read and is given up. */
  applied(seq: number, payload: Uint8Array): void {
    this.#applied = seq;
    this.#print = printOf(payload);
    this.#isAdrift = false;
  }
}

function printOf(payload: Uint8Array): string {
  return `${payload.length}:${payload.subarray(0, PRINT_BYTES).join()}`;
}
