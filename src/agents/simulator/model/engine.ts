// A continuously batching engine on a virtual timeline.
//
// Time passes in steps. A step computes at most `batchedTokensMax` tokens: first one token for every
// running sequence that decodes and a chunk for every one that still has prompt to compute, then
// prompts from the waiting queue, in order, while sequences, tokens and KV blocks last. When a
// running sequence finds no block, the one that began last is preempted: it loses its blocks and
// waits at the head of the queue to be computed again. Source: vLLM vllm/v1/core/sched/scheduler.py.
//
// A prompt that another engine computed is read from there, into blocks that are taken for all of it; as
// in vLLM its last token is computed here.
//
// Nothing here knows a clock. The owner says what time it is; between calls nothing happens:
//
//   submit(request, nowMs) … advance(nowMs) … nextEventAtMs() … advance(then) …

import { assert } from "../../../scheduler/support/assert.ts";
import type { Rng } from "../../../scheduler/support/rng.ts";
import type { BlockHash } from "./block-hash.ts";
import { type Scheduled, workOf } from "./batch.ts";
import { DecodeRun } from "./decode-run.ts";
import { type EngineConfig, type EngineListener, LEASE_MS_DEFAULT } from "./engine-contract.ts";
import { type BlockIndex, type BlockKey, KvCache } from "./kv-cache.ts";
import { Leases } from "./leases.ts";
import { SequenceBlocks } from "./sequence-blocks.ts";
import { Sequence, type SequenceContent, type SequenceFailure } from "./sequence.ts";
import { stepMs } from "./timing.ts";
import { WindowBlocks } from "./window-blocks.ts";

export type { EngineConfig, EngineListener } from "./engine-contract.ts";

/** Steps of one call of `advance`, so that a caller with a clock stays responsive. */
export const STEPS_PER_ADVANCE_MAX = 256;

export class Engine<Hash extends BlockKey = BlockHash> {
  readonly config: EngineConfig;
  readonly cache: KvCache<Hash>;
  readonly #listener: EngineListener<Hash>;
  readonly #rng: Rng;
  readonly #waiting: Sequence<Hash>[] = [];
  readonly #running: Sequence<Hash>[] = [];
  /** Have blocks, which are being filled from elsewhere. Count as running where there is a limit. */
  readonly #receiving = new Set<Sequence<Hash>>();
  readonly #leases: Leases<Sequence<Hash>>;
  readonly #blocks: SequenceBlocks<Hash>;
  readonly #windows: WindowBlocks<Hash> | undefined;
  #batch: Scheduled<Hash>[] = [];
  #stepEndsAtMs = Infinity;
  /** While the batch only decodes and nobody wants to be told of each token. */
  #decodeRun: DecodeRun<Hash> | undefined;
  /** Whether something happened that may let in who waits at the head. */
  #mayAdmit = false;

  /** `index`: see KvCache. */
  constructor(
    config: EngineConfig,
    listener: EngineListener<Hash>,
    rng: Rng,
    index?: BlockIndex<Hash>,
  ) {
    assert(config.batchedTokensMax >= config.sequencesMax, "every running sequence can decode");
    assert(
      config.blockCount * config.blockSize >= config.modelLengthMax,
      "the longest sequence fits into the cache",
    );
    this.config = config;
    this.cache = new KvCache(config.blockCount, listener, index, config.tracksCopies);
    this.#listener = listener;
    this.#rng = rng;
    this.#windows = createWindows(config, listener);
    this.#blocks = new SequenceBlocks(this.cache, config.blockSize, listener, this.#windows);
    this.#leases = new Leases(config.leaseMs ?? LEASE_MS_DEFAULT);
  }

  /** Of layers that see a window only; undefined where there are none. */
  get windowCache(): KvCache<Hash> | undefined {
    return this.#windows?.cache;
  }

  get runningCount(): number {
    return this.#running.length;
  }

  /** As in vLLM, with those whose prompt is being read. */
  get waitingCount(): number {
    return this.#waiting.length + this.#receiving.size;
  }

  /** Sequences that have ended and hold their blocks. */
  get heldCount(): number {
    return this.#leases.count;
  }

  /** In the order they began. */
  get running(): readonly Sequence<Hash>[] {
    return this.#running;
  }

  /** In the order they will begin. */
  get waiting(): readonly Sequence<Hash>[] {
    return this.#waiting;
  }

  /** Sequences that could be submitted now without being refused. */
  get room(): number {
    const { sequencesMax, waitingMax } = this.config;
    return sequencesMax + waitingMax - this.#running.length - this.waitingCount;
  }

  /** Forgets what is in all caches. False, with nothing changed, while a block is in use. */
  forgetCached(): boolean {
    if (!this.cache.clear()) return false;
    this.#windows?.cache.clear();
    return true;
  }

  /** Takes a sequence in at `nowMs`, or gives undefined when the queue is full. */
  submit(content: SequenceContent<Hash>, nowMs: number): Sequence<Hash> | undefined {
    const sequence = new Sequence(content, nowMs);
    assert(sequence.promptCount > 0 && sequence.outputCount > 0, "a sequence has tokens");
    assert(
      sequence.promptCount + sequence.outputCount <= this.config.modelLengthMax,
      "a sequence is no longer than the model allows",
    );
    if (this.room <= 0) return undefined;
    this.#waiting.push(sequence);
    this.#changed(nowMs);
    return sequence;
  }

  /** Takes a sequence out at once. False if it had ended already. */
  abort(sequence: Sequence<Hash>, nowMs: number): boolean {
    this.#leaveDecodeRun();
    const lists = [this.#waiting, this.#running];
    if (!this.#receiving.delete(sequence) && !lists.some((all) => remove(all, sequence)))
      return false;
    this.#batch = this.#batch.filter((entry) => entry.sequence !== sequence);
    this.#blocks.free(sequence);
    this.#changed(nowMs);
    return true;
  }

  /** The prompt of a sequence is there, all of it. False if the sequence is not waiting for it. */
  received(sequence: Sequence<Hash>, nowMs: number): boolean {
    if (!this.#receiving.delete(sequence)) return false;
    sequence.isRemote = false;
    // The last token is computed here: its output is what the next token is drawn from.
    sequence.computedCount = sequence.promptCount - 1;
    this.#blocks.store(sequence, sequence.promptCount);
    this.#running.push(sequence);
    this.#begin(sequence, sequence.computedCount, nowMs);
    this.#changed(nowMs);
    return true;
  }

  /**
   * The prompt of a sequence cannot be read: it is computed here, or the sequence ends. False if the
   * sequence is not waiting for it.
   */
  notReceived(sequence: Sequence<Hash>, then: "recompute" | "fail", nowMs: number): boolean {
    if (!this.#receiving.delete(sequence)) return false;
    sequence.isRemote = false;
    sequence.receivedCount = 0;
    this.#blocks.free(sequence);
    if (then === "recompute") this.#waiting.unshift(sequence);
    else this.#fail(sequence, "kv-load", nowMs);
    this.#changed(nowMs);
    return true;
  }

  /** Lets go of what a sequence holds that has ended. False if it holds nothing any more. */
  release(sequence: Sequence<Hash>, nowMs: number): boolean {
    if (!this.#leases.end(sequence)) return false;
    this.#blocks.free(sequence);
    this.#changed(nowMs);
    return true;
  }

  /** Lets go of all that sequences hold which have ended, as an engine does that begins anew. */
  releaseAll(nowMs: number): void {
    for (const sequence of this.#leases.expire(Infinity)) this.#blocks.free(sequence);
    this.#changed(nowMs);
  }

  /** Holds on to what a sequence holds for another lease. False if it holds nothing any more. */
  renew(sequence: Sequence<Hash>, nowMs: number): boolean {
    return this.#leases.renew(sequence, nowMs);
  }

  /** When the engine next has something to do; Infinity while it is idle. */
  nextEventAtMs(): number {
    return Math.min(this.#stepEndsAtMs, this.#leases.nextEndAtMs());
  }

  /** Lets time pass until `nowMs`, or until STEPS_PER_ADVANCE_MAX steps are done. */
  advance(nowMs: number): void {
    for (let steps = 0; steps < STEPS_PER_ADVANCE_MAX && this.nextEventAtMs() <= nowMs; steps++) {
      const atMs = this.nextEventAtMs();
      this.#endLeases(atMs);
      if (this.#stepEndsAtMs > atMs) continue;
      this.#endStep(atMs);
      this.#beginStep(atMs);
    }
  }

  /** Brings the counts of all sequences up to date. */
  settle(): void {
    this.#decodeRun?.settle();
  }

  /** Something happened between two steps: whoever waits may go on. */
  #changed(nowMs: number): void {
    this.#mayAdmit = true;
    if (this.#stepEndsAtMs === Infinity) this.#beginStep(nowMs);
  }

  #endLeases(atMs: number): void {
    for (const sequence of this.#leases.expire(atMs)) {
      this.#blocks.free(sequence);
      this.#listener.leaseExpired?.(sequence, atMs);
      this.#changed(atMs);
    }
  }

  #fail(sequence: Sequence<Hash>, failure: SequenceFailure, atMs: number): void {
    sequence.failure = failure;
    this.#listener.finished(sequence, atMs);
  }

  #beginStep(atMs: number): void {
    if (this.#continueDecodeRun(atMs)) return;
    this.#batch = [];
    this.#stepEndsAtMs = Infinity;
    // A sequence preempted just now is at the head, and lacks at least the block that it lost.
    this.#scheduleWaiting(atMs, this.#scheduleRunning(this.config.batchedTokensMax));
    this.#mayAdmit = this.#waiting.length > 0 && this.#waiting[0]!.arrivedAtMs > atMs;
    if (this.#batch.length > 0) {
      this.#beginDecodeRun();
      const work = workOf(this.#batch, this.#running.length);
      this.#stepEndsAtMs = atMs + stepMs(this.config.timing, work, this.#rng);
    } else if (this.#waiting.length > 0 && this.#waiting[0]!.arrivedAtMs > atMs) {
      this.#stepEndsAtMs = this.#waiting[0]!.arrivedAtMs;
    } else {
      // What is held or being filled comes free later, and then it goes on.
      const mayWait = this.#waiting.length === 0 || this.#leases.count + this.#receiving.size > 0;
      assert(mayWait, "an idle engine schedules whoever waits");
    }
  }

  /** Gives the tokens left of `tokensMax`. */
  #scheduleRunning(tokensMax: number): number {
    let budget = tokensMax;
    for (let i = 0; i < this.#running.length && budget > 0; i++) {
      const sequence = this.#running[i]!;
      const tokenCount = Math.min(sequence.knownCount - sequence.computedCount, budget);
      while (!this.#blocks.reserve(sequence, [], tokenCount)) {
        if (this.#preemptLast() === sequence) return budget;
      }
      budget -= tokenCount;
      this.#batch.push({ sequence, tokenCount, isFirst: false });
    }
    return budget;
  }

  #scheduleWaiting(atMs: number, tokensMax: number): void {
    let budget = tokensMax;
    while (this.#waiting.length > 0 && budget > 0) {
      if (this.#running.length + this.#receiving.size >= this.config.sequencesMax) return;
      const sequence = this.#waiting[0]!;
      if (sequence.arrivedAtMs > atMs) return;
      if (this.#isBelowThreshold(sequence)) {
        this.#waiting.shift();
        this.#fail(sequence, "cache-threshold", atMs);
        continue;
      }
      if (!this.#blocks.fits(sequence, budget)) return;
      this.#waiting.shift();
      if (sequence.isRemote) this.#receive(sequence, atMs);
      else budget -= this.#schedule(sequence, atMs, budget);
    }
  }

  /** Whether too little of a prompt is cached for it to be computed here. */
  #isBelowThreshold(sequence: Sequence<Hash>): boolean {
    const { content, promptCount, firstScheduledAtMs } = sequence;
    // Who was preempted was let in before.
    if (content.cacheHitThreshold === undefined || firstScheduledAtMs !== undefined) return false;
    return this.#blocks.find(sequence).count / promptCount < content.cacheHitThreshold;
  }

  /** Begins to compute a sequence that fits, and gives the tokens of its first step. */
  #schedule(sequence: Sequence<Hash>, atMs: number, tokensMax: number): number {
    const { hits, count } = this.#blocks.find(sequence);
    const tokenCount = Math.min(sequence.knownCount - count, tokensMax);
    sequence.computedCount = count;
    const isReserved = this.#blocks.reserve(sequence, hits, tokenCount);
    assert(isReserved, "what fits can be reserved");
    this.#running.push(sequence);
    sequence.prefillCount = sequence.knownCount - count;
    this.#batch.push({ sequence, tokenCount, isFirst: true });
    this.#begin(sequence, count, atMs);
    return tokenCount;
  }

  #begin(sequence: Sequence<Hash>, cachedCount: number, atMs: number): void {
    if (sequence.firstScheduledAtMs !== undefined) return;
    sequence.firstScheduledAtMs = atMs;
    sequence.cachedCount = Math.min(cachedCount, sequence.promptCount);
    this.#listener.scheduled(sequence, atMs);
  }

  /** Takes blocks for the whole prompt, and has them filled. */
  #receive(sequence: Sequence<Hash>, atMs: number): void {
    this.#blocks.reservePrompt(sequence);
    this.#receiving.add(sequence);
    assert(this.#listener.transferBegan !== undefined, "somebody fills the blocks");
    this.#listener.transferBegan(sequence, sequence.receivedCount, atMs);
  }

  /** Preempts the sequence that began last, which the present batch never holds yet. */
  #preemptLast(): Sequence<Hash> {
    const sequence = this.#running.pop()!;
    this.#blocks.free(sequence);
    this.#waiting.unshift(sequence);
    this.#listener.preempted(sequence);
    return sequence;
  }

  #beginDecodeRun(): void {
    if (this.#listener.token !== undefined || this.#batch.length < this.#running.length) return;
    // Of a first token somebody is told, also where the prompt was computed elsewhere.
    const isPure = this.#running.every(
      (each) => each.prefillCount === 0 && each.generatedCount > 0,
    );
    if (!isPure) return;
    this.#decodeRun = new DecodeRun(this.#running, this.config.blockSize);
  }

  /** Begins the next step of a decode run. False, and out of it, if the step is another one. */
  #continueDecodeRun(atMs: number): boolean {
    const run = this.#decodeRun;
    if (run === undefined) return false;
    if (!this.#mayAdmit) {
      let hasBlocks = true;
      let hasStored = false;
      for (const sequence of run.due()) {
        hasBlocks &&= this.#blocks.reserve(sequence, [], 1);
        hasStored = true;
      }
      // A block that was just filled may be one that the head of the queue looks for.
      if (hasBlocks && !(hasStored && this.#headFits())) {
        this.#stepEndsAtMs = atMs + this.#decodeMs(run.size, run.contextTokens);
        return true;
      }
    }
    // What was reserved stays so: reserving again changes nothing.
    this.#leaveDecodeRun();
    return false;
  }

  #leaveDecodeRun(): void {
    this.#decodeRun?.settle();
    this.#decodeRun = undefined;
  }

  /** Whether the head of the queue would be admitted beside a batch that decodes. */
  #headFits(): boolean {
    const { sequencesMax, batchedTokensMax } = this.config;
    const head = this.#waiting[0];
    const budget = batchedTokensMax - this.#running.length;
    const taken = this.#running.length + this.#receiving.size;
    if (head === undefined || taken >= sequencesMax || budget <= 0) return false;
    return this.#blocks.fits(head, budget);
  }

  #decodeMs(decodeCount: number, contextTokens: number): number {
    const work = { prefill: [], decodeCount, contextTokens, runningCount: decodeCount };
    return stepMs(this.config.timing, work, this.#rng);
  }

  #endStep(atMs: number): void {
    if (this.#decodeRun?.endStep(atMs) === true) {
      this.#listener.stepped(this.#decodeRun.size);
      return;
    }
    this.#leaveDecodeRun();
    let tokenCount = 0;
    for (const entry of this.#batch) {
      const { sequence } = entry;
      tokenCount += entry.tokenCount;
      sequence.computedCount += entry.tokenCount;
      if (sequence.computedCount < sequence.knownCount) continue;
      sequence.prefillCount = 0;
      sequence.generatedCount++;
      sequence.firstTokenAtMs ??= atMs;
      sequence.lastTokenAtMs = atMs;
      const isLast = sequence.generatedCount === sequence.outputCount;
      if (isLast) {
        remove(this.#running, sequence);
        if (sequence.content.isHeld === true) this.#leases.hold(sequence, atMs);
        else this.#blocks.free(sequence);
      }
      if (sequence.generatedCount === 1) this.#listener.firstToken?.(sequence, atMs);
      this.#listener.token?.(sequence, atMs);
      if (isLast) this.#listener.finished(sequence, atMs);
    }
    if (tokenCount > 0) this.#listener.stepped(tokenCount);
  }
}

function createWindows<Hash extends BlockKey>(
  { slidingWindow, blockSize, tracksCopies }: EngineConfig,
  listener: EngineListener<Hash>,
): WindowBlocks<Hash> | undefined {
  if (slidingWindow === undefined) return undefined;
  const { tokens, blockCount } = slidingWindow;
  const told = {
    stored: () => undefined,
    removed: (hash: Hash) => listener.windowRemoved?.(hash),
  };
  const cache = new KvCache<Hash>(blockCount, told, undefined, tracksCopies);
  return new WindowBlocks(cache, { tokens, blockSize }, (sequence, first, end) =>
    listener.windowStored?.(sequence, first, end),
  );
}

/** Removes `item` in place, keeping the order. True if it was there. */
function remove<T>(items: T[], item: T): boolean {
  const index = items.indexOf(item);
  if (index >= 0) items.splice(index, 1);
  return index >= 0;
}
