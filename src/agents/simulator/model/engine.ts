// A continuously batching engine on a virtual timeline.
//
// Time passes in steps. A step computes at most `batchedTokensMax` tokens: first one token for every
// running sequence that decodes and a chunk for every one that still has prompt to compute, then
// prompts from the waiting queue, in order, while sequences, tokens and KV blocks last. When a
// running sequence finds no block, the one that began last is preempted: it loses its blocks and
// waits at the head of the queue to be computed again. Source: vLLM vllm/v1/core/sched/scheduler.py.
//
// Nothing here knows a clock. The owner says what time it is; between calls nothing happens:
//
//   submit(request, nowMs) … advance(nowMs) … nextEventAtMs() … advance(then) …

import { assert } from "../../../scheduler/support/assert.ts";
import type { Rng } from "../../../scheduler/support/rng.ts";
import type { BlockHash } from "./block-hash.ts";
import { DecodeRun } from "./decode-run.ts";
import { type BlockIndex, type BlockKey, KvCache, type KvCacheListener } from "./kv-cache.ts";
import { Sequence, type SequenceContent } from "./sequence.ts";
import { stepMs, type PrefillChunk, type TimingConfig } from "./timing.ts";

export interface EngineConfig {
  readonly blockSize: number;
  readonly blockCount: number;
  /** Sequences that run at once. */
  readonly sequencesMax: number;
  /** Sequences that may wait besides. */
  readonly waitingMax: number;
  /** Tokens computed in one step. At least `sequencesMax`, so that every sequence can decode. */
  readonly batchedTokensMax: number;
  /** Prompt and answer of one sequence. They must fit into the cache. */
  readonly modelLengthMax: number;
  /** See KvCache; absent: no. */
  readonly tracksCopies?: boolean;
  readonly timing: TimingConfig;
}

/** Told what happens, in order of virtual time. Must not call the engine back. */
export interface EngineListener<Hash extends BlockKey = BlockHash> extends KvCacheListener<Hash> {
  /**
   * The blocks of `sequence` from `first` to `end` were stored in one go: what `stored` told of each,
   * once more together.
   */
  blocksStored?(sequence: Sequence<Hash>, first: number, end: number): void;
  /**
   * Asked of blocks that are not in the cache: whether they can be read from elsewhere. Reading takes
   * no time. Without it nothing is elsewhere.
   */
  isElsewhere?(hash: Hash): boolean;
  /** The sequence begins to be computed; not told again after a preemption. */
  scheduled(sequence: Sequence<Hash>, atMs: number): void;
  /** Told of the first token of a sequence only. */
  firstToken?(sequence: Sequence<Hash>, atMs: number): void;
  /**
   * Told of every token; `sequence.generatedCount` counts it. Without it the engine is faster, and
   * counts of running sequences are up to date only after `settle`.
   */
  token?(sequence: Sequence<Hash>, atMs: number): void;
  /** After the last token. The sequence's blocks are free. */
  finished(sequence: Sequence<Hash>, atMs: number): void;
  preempted(sequence: Sequence<Hash>): void;
  /** A step that computed `tokenCount` tokens has ended. */
  stepped(tokenCount: number): void;
}

interface Scheduled<Hash extends BlockKey> {
  readonly sequence: Sequence<Hash>;
  readonly tokenCount: number;
  readonly isFirst: boolean;
}

/** Steps one call of `advance` takes, so that a caller with a clock stays responsive. */
export const STEPS_PER_ADVANCE_MAX = 256;

export class Engine<Hash extends BlockKey = BlockHash> {
  readonly config: EngineConfig;
  readonly cache: KvCache<Hash>;
  readonly #listener: EngineListener<Hash>;
  readonly #rng: Rng;
  readonly #waiting: Sequence<Hash>[] = [];
  readonly #running: Sequence<Hash>[] = [];
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
  }

  get runningCount(): number {
    return this.#running.length;
  }

  get waitingCount(): number {
    return this.#waiting.length;
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
    return sequencesMax + waitingMax - this.#running.length - this.#waiting.length;
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
    this.#mayAdmit = true;
    if (this.#stepEndsAtMs === Infinity) this.#beginStep(nowMs);
    return sequence;
  }

  /** Takes a sequence out at once. False if it had ended already. */
  abort(sequence: Sequence<Hash>): boolean {
    this.#leaveDecodeRun();
    this.#mayAdmit = true;
    if (remove(this.#waiting, sequence)) return true;
    if (!remove(this.#running, sequence)) return false;
    this.#batch = this.#batch.filter((entry) => entry.sequence !== sequence);
    this.cache.release(sequence.blocks);
    sequence.blocks = [];
    return true;
  }

  /** When the engine next has something to do; Infinity while it is idle. */
  nextEventAtMs(): number {
    return this.#stepEndsAtMs;
  }

  /** Lets time pass until `nowMs`, or until STEPS_PER_ADVANCE_MAX steps are done. */
  advance(nowMs: number): void {
    for (let steps = 0; steps < STEPS_PER_ADVANCE_MAX && this.#stepEndsAtMs <= nowMs; steps++) {
      const atMs = this.#stepEndsAtMs;
      this.#endStep(atMs);
      this.#beginStep(atMs);
    }
  }

  /** Brings the counts of all sequences up to date. */
  settle(): void {
    this.#decodeRun?.settle();
  }

  #beginStep(atMs: number): void {
    if (this.#continueDecodeRun(atMs)) return;
    this.#batch = [];
    this.#stepEndsAtMs = Infinity;
    const budget = this.#scheduleRunning(this.config.batchedTokensMax);
    // A sequence preempted just now is at the head, and lacks at least the block that it lost.
    this.#scheduleWaiting(atMs, budget);
    this.#mayAdmit = this.#waiting.length > 0 && this.#waiting[0]!.arrivedAtMs > atMs;
    if (this.#batch.length > 0) {
      this.#beginDecodeRun();
      this.#stepEndsAtMs = atMs + this.#batchMs();
    } else if (this.#waiting.length > 0) {
      // Only a sequence from the future can be left waiting by an engine that runs nothing.
      this.#stepEndsAtMs = this.#waiting[0]!.arrivedAtMs;
      assert(this.#stepEndsAtMs > atMs, "an idle engine schedules whoever waits");
    }
  }

  /** Gives the tokens left of `tokensMax`. */
  #scheduleRunning(tokensMax: number): number {
    let budget = tokensMax;
    for (let i = 0; i < this.#running.length && budget > 0; i++) {
      const sequence = this.#running[i]!;
      const tokenCount = Math.min(sequence.knownCount - sequence.computedCount, budget);
      while (!this.#reserve(sequence, [], tokenCount)) {
        if (this.#preemptLast() === sequence) return budget;
      }
      budget -= tokenCount;
      this.#batch.push({ sequence, tokenCount, isFirst: false });
    }
    return budget;
  }

  #scheduleWaiting(atMs: number, tokensMax: number): void {
    const { blockSize, sequencesMax } = this.config;
    let budget = tokensMax;
    while (this.#waiting.length > 0 && this.#running.length < sequencesMax && budget > 0) {
      const sequence = this.#waiting[0]!;
      if (sequence.arrivedAtMs > atMs) return;
      if (!this.#fits(sequence, budget)) return;
      const findable = this.#findableCount(sequence);
      const hashes = sequence.content.hashes(findable);
      const hits = this.cache.match(hashes, findable);
      const hitCount =
        (hits.length + this.#elsewhereCount(hashes, hits.length, findable)) * blockSize;
      const tokenCount = Math.min(sequence.knownCount - hitCount, budget);
      sequence.computedCount = hitCount;
      const isReserved = this.#reserve(sequence, hits, tokenCount);
      assert(isReserved, "what fits can be reserved");
      this.#waiting.shift();
      this.#running.push(sequence);
      sequence.prefillCount = sequence.knownCount - hitCount;
      budget -= tokenCount;
      this.#batch.push({ sequence, tokenCount, isFirst: true });
      if (sequence.firstScheduledAtMs !== undefined) continue;
      sequence.firstScheduledAtMs = atMs;
      sequence.cachedCount = Math.min(hitCount, sequence.promptCount);
      this.#listener.scheduled(sequence, atMs);
    }
  }

  /** Blocks that may be found in the cache. */
  #findableCount(sequence: Sequence<Hash>): number {
    // The last token is always computed: its output is what the next token is drawn from.
    return Math.floor((sequence.knownCount - 1) / this.config.blockSize);
  }

  /** Whether a sequence that has no blocks yet can begin with up to `tokensMax` tokens. */
  #fits(sequence: Sequence<Hash>, tokensMax: number): boolean {
    const { blockSize } = this.config;
    const findable = this.#findableCount(sequence);
    const hashes = sequence.content.hashes(findable);
    const { hitCount, freshCountMax } = this.cache.probe(hashes, findable);
    const elsewhere = this.#elsewhereCount(hashes, hitCount, findable);
    const computed = (hitCount + elsewhere) * blockSize;
    const tokenCount = Math.min(sequence.knownCount - computed, tokensMax);
    return elsewhere + Math.ceil(tokenCount / blockSize) <= freshCountMax;
  }

  /** How many blocks after the first `hitCount` can be read from elsewhere, without a gap. */
  #elsewhereCount(hashes: ArrayLike<Hash>, hitCount: number, findable: number): number {
    if (this.#listener.isElsewhere === undefined) return 0;
    let i = hitCount;
    while (i < findable && this.#listener.isElsewhere(hashes[i]!)) i++;
    return i - hitCount;
  }

  /** Makes room for `tokenCount` more tokens, and stores the blocks they fill. */
  #reserve(sequence: Sequence<Hash>, hits: readonly number[], tokenCount: number): boolean {
    const { blockSize } = this.config;
    const endCount = sequence.computedCount + tokenCount;
    const held = sequence.blocks.length + hits.length;
    const fresh = this.cache.reserve(hits, Math.max(0, Math.ceil(endCount / blockSize) - held));
    if (fresh === undefined) return false;
    sequence.blocks.push(...hits, ...fresh);
    // As in vLLM, a block can be found from the step on that fills it: whoever finds it is computed
    // in the same step or later.
    const full = Math.floor(endCount / blockSize);
    const first = Math.max(sequence.storedBlockCount, hits.length);
    if (first < full) {
      const hashes = sequence.content.hashes(full);
      let run = first;
      for (let i = first; i < full; i++) {
        if (this.cache.store(sequence.blocks[i]!, hashes[i]!)) continue;
        if (run < i) this.#listener.blocksStored?.(sequence, run, i);
        run = i + 1;
      }
      if (run < full) this.#listener.blocksStored?.(sequence, run, full);
    }
    sequence.storedBlockCount = full;
    return true;
  }

  /** Preempts the sequence that began last, which the present batch never holds yet. */
  #preemptLast(): Sequence<Hash> {
    const sequence = this.#running.pop()!;
    this.cache.release(sequence.blocks);
    sequence.restart();
    this.#waiting.unshift(sequence);
    this.#listener.preempted(sequence);
    return sequence;
  }

  #beginDecodeRun(): void {
    if (this.#listener.token !== undefined || this.#batch.length < this.#running.length) return;
    if (this.#running.some(({ prefillCount }) => prefillCount > 0)) return;
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
        hasBlocks &&= this.#reserve(sequence, [], 1);
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
    if (head === undefined || this.#running.length >= sequencesMax || budget <= 0) return false;
    return this.#fits(head, budget);
  }

  #decodeMs(decodeCount: number, contextTokens: number): number {
    const work = { prefill: [], decodeCount, contextTokens, runningCount: decodeCount };
    return stepMs(this.config.timing, work, this.#rng);
  }

  #batchMs(): number {
    const prefill: PrefillChunk[] = [];
    let decodeCount = 0;
    let contextTokens = 0;
    for (const { sequence, tokenCount, isFirst } of this.#batch) {
      const isDecoding = sequence.prefillCount === 0;
      if (isDecoding) {
        decodeCount++;
        contextTokens += sequence.knownCount;
      } else prefill.push({ tokens: tokenCount, tokensOfPrompt: sequence.prefillCount, isFirst });
    }
    const runningCount = this.#running.length;
    const work = { prefill, decodeCount, contextTokens, runningCount };
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
        this.cache.release(sequence.blocks);
        sequence.blocks = [];
      }
      if (sequence.generatedCount === 1) this.#listener.firstToken?.(sequence, atMs);
      this.#listener.token?.(sequence, atMs);
      if (isLast) this.#listener.finished(sequence, atMs);
    }
    if (tokenCount > 0) this.#listener.stepped(tokenCount);
  }
}

/** Removes `item` in place, keeping the order. True if it was there. */
function remove<T>(items: T[], item: T): boolean {
  const index = items.indexOf(item);
  if (index >= 0) items.splice(index, 1);
  return index >= 0;
}
