// Runs an engine in real time: keeps one timer at the engine's next event, maps virtual milliseconds
// to wall ones, counts metrics, and passes tokens to whoever asked for them.

import type { BlockHash, BlockHasher } from "./model/block-hash.ts";
import { Engine, type EngineConfig, type EngineListener } from "./model/engine.ts";
import type { Sequence, SequenceContent } from "./model/sequence.ts";
import { type SequenceRequest, TokenContent } from "./model/token-content.ts";
import { TransferLink, type TransferTiming } from "./model/transfer.ts";
import { EngineMetrics, type FinishedReason } from "./metrics.ts";
import { assert } from "../../scheduler/support/assert.ts";
import type { Rng } from "../../scheduler/support/rng.ts";

/** The longest setTimeout takes; a step that lasts longer is waited for in parts. */
const TIMER_MS_MAX = 2_147_483_647;

/** Receives the tokens of one sequence. Must not submit or abort while it is called. */
export interface SequenceConsumer {
  /** How the sequence will end, for the metrics. */
  readonly finishReason: FinishedReason;
  /** One more token is there; `sequence.generatedCount` counts them. */
  token(sequence: Sequence): void;
  /** It ended without a token; `sequence.failure` says why. */
  failed?(sequence: Sequence): void;
  /** The last `tokenCount` tokens of its prompt are to be read from elsewhere, into blocks it has. */
  transfer?(sequence: Sequence, tokenCount: number): void;
  /** Nobody came for what it held. */
  expired?(): void;
}

export interface Submission {
  readonly request: SequenceRequest;
  readonly consumer: SequenceConsumer;
}

export interface RunnerConfig {
  readonly engine: EngineConfig;
  /** The label of the metrics. */
  readonly model: string;
  readonly hasher: BlockHasher;
  /** Wall milliseconds of a virtual one. */
  readonly timeScale: number;
  readonly transfer: TransferTiming;
}

/** Told what the engine's cache does. Must not call the runner back. */
export interface CacheObserver {
  /** The blocks of a sequence from `first` to `end`, which the cache did not have. */
  blocksStored(content: TokenContent, first: number, end: number): void;
  removed(hash: BlockHash): void;
  /** The same of the cache of layers that see a window only. */
  windowStored(content: TokenContent, first: number, end: number): void;
  windowRemoved(hash: BlockHash): void;
  /** Whether a block can be read from another tier. */
  isElsewhere(hash: BlockHash): boolean;
  /** The engine has moved; what was told belongs together. */
  flush(): void;
}

/** Counts since the start, beside the metrics vLLM has. */
export interface RunnerCounts {
  aborted: number;
  blocksStored: number;
  blocksRemoved: number;
  /** Prompts that were read from other engines, and that could not be. */
  transfersReceived: number;
  transfersFailed: number;
  /** Prompts that decoders have read, and that nobody came for. */
  heldReleased: number;
  heldExpired: number;
}

export class EngineRunner implements EngineListener {
  readonly engine: Engine;
  readonly metrics: EngineMetrics;
  readonly counts: RunnerCounts = {
    aborted: 0,
    blocksStored: 0,
    blocksRemoved: 0,
    transfersReceived: 0,
    transfersFailed: 0,
    heldReleased: 0,
    heldExpired: 0,
  };
  readonly #hasher: BlockHasher;
  readonly #observer: CacheObserver | undefined;
  readonly #timeScale: number;
  readonly #originMs = performance.now();
  readonly #link: TransferLink;
  /** By content, as a sequence may be told of before `submit` gives it. */
  readonly #consumers = new Map<SequenceContent, SequenceConsumer>();
  readonly #previousTokenAtMs = new Map<Sequence, number>();
  #timer: NodeJS.Timeout | undefined;

  constructor(
    { engine, model, hasher, timeScale, transfer }: RunnerConfig,
    rng: Rng,
    observer?: CacheObserver,
  ) {
    this.#hasher = hasher;
    this.#observer = observer;
    this.#timeScale = timeScale;
    this.#link = new TransferLink(transfer);
    this.engine = new Engine(engine, this, rng);
    this.metrics = new EngineMetrics(this.engine, model, timeScale);
  }

  /**
   * Submits all or none of a request's sequences. Undefined when the queue has no room for them.
   */
  submit(submissions: readonly Submission[]): Sequence[] | undefined {
    const nowMs = this.#advanced();
    if (this.engine.room < submissions.length) {
      this.#observer?.flush();
      return undefined;
    }
    const sequences: Sequence[] = [];
    for (const { request, consumer } of submissions) {
      const content = new TokenContent(request, this.#hasher, this.engine.config.blockSize);
      this.#consumers.set(content, consumer);
      sequences.push(this.engine.submit(content, nowMs)!);
    }
    this.#moved();
    return sequences;
  }

  /** Takes a sequence out at once and frees its blocks. Nothing happens if it had ended. */
  abort(sequence: Sequence): void {
    if (!this.engine.abort(sequence, this.#nowMs())) return;
    this.counts.aborted++;
    this.#forget(sequence);
    this.metrics.finished(sequence, "abort", this.#nowMs());
    this.#moved();
  }

  /** How long reading `tokenCount` tokens from `peer` takes from now, in wall milliseconds. */
  beginTransfer(peer: string, tokenCount: number): number {
    const nowMs = this.#nowMs();
    return (this.#link.begin(peer, tokenCount, nowMs) - nowMs) * this.#timeScale;
  }

  /** The prompt of a sequence is there. */
  received(sequence: Sequence): void {
    const nowMs = this.#advanced();
    if (this.engine.received(sequence, nowMs)) this.counts.transfersReceived++;
    this.#moved();
  }

  /** The prompt of a sequence cannot be read. */
  notReceived(sequence: Sequence, then: "recompute" | "fail"): void {
    const nowMs = this.#advanced();
    if (this.engine.notReceived(sequence, then, nowMs)) this.counts.transfersFailed++;
    this.#moved();
  }

  /** Holds what a sequence computed for longer. False if it is held no more. */
  renew(sequence: Sequence): boolean {
    const isHeld = this.engine.renew(sequence, this.#advanced());
    this.#moved();
    return isHeld;
  }

  /** Lets go of what a sequence computed for others. False if it was gone before. */
  release(sequence: Sequence): boolean {
    const isReleased = this.engine.release(sequence, this.#advanced());
    if (isReleased) {
      this.counts.heldReleased++;
      this.#forget(sequence);
    }
    this.#moved();
    return isReleased;
  }

  /** Lets go of all that is held for others. */
  releaseAll(): void {
    this.engine.releaseAll(this.#advanced());
    this.#moved();
  }

  /** Stops the clock. What has not finished never will. */
  close(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#consumers.clear();
  }

  scheduled(sequence: Sequence): void {
    this.metrics.scheduled(sequence);
  }

  token(sequence: Sequence, atMs: number): void {
    const previousMs = this.#previousTokenAtMs.get(sequence);
    this.metrics.token(sequence, atMs, previousMs === undefined ? undefined : atMs - previousMs);
    this.#previousTokenAtMs.set(sequence, atMs);
    this.#consumers.get(sequence.content)?.token(sequence);
  }

  finished(sequence: Sequence, atMs: number): void {
    const consumer = this.#consumers.get(sequence.content);
    const isFailed = sequence.failure !== undefined;
    // What is held may still be told of.
    if (isFailed || sequence.content.isHeld !== true) this.#forget(sequence);
    this.#previousTokenAtMs.delete(sequence);
    const reason = consumer?.finishReason ?? "error";
    this.metrics.finished(sequence, isFailed ? "error" : reason, atMs);
    // The consumer may submit or abort; the engine is busy now.
    if (isFailed) queueMicrotask(() => consumer?.failed?.(sequence));
  }

  transferBegan(sequence: Sequence, tokenCount: number): void {
    const consumer = this.#consumers.get(sequence.content);
    queueMicrotask(() => consumer?.transfer?.(sequence, tokenCount));
  }

  leaseExpired(sequence: Sequence): void {
    this.counts.heldExpired++;
    this.#consumers.get(sequence.content)?.expired?.();
    this.#forget(sequence);
  }

  preempted(): void {
    this.metrics.preempted();
  }

  stepped(tokenCount: number): void {
    this.metrics.stepped(tokenCount);
  }

  stored(_hash: BlockHash): void {
    this.counts.blocksStored++;
  }

  blocksStored(sequence: Sequence, first: number, end: number): void {
    const { content } = sequence;
    assert(content instanceof TokenContent, "the runner itself made every content");
    this.#observer?.blocksStored(content, first, end);
  }

  windowStored(sequence: Sequence, first: number, end: number): void {
    const { content } = sequence;
    assert(content instanceof TokenContent, "the runner itself made every content");
    this.#observer?.windowStored(content, first, end);
  }

  windowRemoved(hash: BlockHash): void {
    this.#observer?.windowRemoved(hash);
  }

  isElsewhere(hash: BlockHash): boolean {
    return this.#observer?.isElsewhere(hash) === true;
  }

  removed(hash: BlockHash): void {
    this.counts.blocksRemoved++;
    this.#observer?.removed(hash);
  }

  #forget(sequence: Sequence): void {
    this.#consumers.delete(sequence.content);
    this.#previousTokenAtMs.delete(sequence);
  }

  #nowMs(): number {
    return (performance.now() - this.#originMs) / this.#timeScale;
  }

  #arm(): void {
    clearTimeout(this.#timer);
    const nextMs = this.engine.nextEventAtMs();
    if (nextMs === Infinity) {
      this.#timer = undefined;
      return;
    }
    const waitMs = (nextMs - this.#nowMs()) * this.#timeScale;
    const timerMs = Math.min(TIMER_MS_MAX, Math.max(0, waitMs));
    this.#timer = setTimeout(() => this.#advance(), timerMs);
  }

  #advance(): void {
    this.#advanced();
    this.#moved();
  }

  /** Brings the engine up to now, and gives when that is. */
  #advanced(): number {
    const nowMs = this.#nowMs();
    this.engine.advance(nowMs);
    return nowMs;
  }

  /** The engine may have something else to do next. */
  #moved(): void {
    this.#observer?.flush();
    this.#arm();
  }
}
