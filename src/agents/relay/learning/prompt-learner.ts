// The relay's side of learning what content becomes: what is worth learning from, and that it costs requests
// nothing. A thread does the rest:
//
//   answer begun ──begin──► known? full? ──► Lesson ──copy──► thread: read, ask the engine, align ──► collectors
//                             └──► counted                        │
//                      known, for a while ◄──── done ─────────────┘
//
// A prompt that was with the thread when that broke is left alone: it may have been the one that broke it.
//
// Nothing here waits, and nothing fails a request. What is not taken is counted and forgotten: the next request
// of its kind is another chance.

import { Worker } from "node:worker_threads";
import { METRIC } from "../../../telemetry/names.ts";
import type { MetricRegistry } from "../../../telemetry/metrics.ts";
import type { Logger } from "../../process/logger.ts";
import { keyHex, type ContentFacts } from "../../protocol/content-header.ts";
import { KNOWN_MS, KnownKeys } from "./known-keys.ts";
import type { LearnRequest } from "./learn-prompt.ts";
import { type HeldAnswers, Lesson } from "./lesson.ts";
import type { AnswerOutcome, LearnOutcome } from "./outcomes.ts";
import type { LearnJob, ThreadOptions, ThreadReport } from "./thread-messages.ts";
import { WaitingJobs } from "./waiting-jobs.ts";

export const LEARNER_LIMITS = {
  /** Requests handed to the thread and not done. */
  waitingMax: 256,
  /** Bodies and answers of these. */
  waitingBytesMax: 32 * 1024 * 1024,
  /** Past this share of both, prompts alone are taken: a prompt is of use to more requests than an answer. */
  answersShare: 0.5,
  /** A longer body is not learned from: its content keys end at 512 KiB. */
  bodyBytesMax: 4 * 1024 * 1024,
  /** Engines that are left alone. */
  enginesMax: 4_096,
} as const;

/** After that a prompt that could not be learned is tried again, and an engine asked that was slow. */
const FAILED_MS = 60_000;
/** After that an engine that does not tell is asked again. */
const UNSUPPORTED_MS = 300_000;
/** Before a thread that broke is started again: twice as long each time, up to the other, which it must last to begin anew. */
const RESTART_MS = 10_000;
const RESTART_MS_MAX = 320_000;
/** A mistake of the configuration is said again after this. */
const COMPLAIN_MS = 60_000;
const THREAD_HEAP_MIB_MAX = 512;

export interface PromptLearnerOptions extends ThreadOptions {
  readonly logger: Logger;
  readonly registry: MetricRegistry;
  /** Milliseconds of any origin. */
  readonly clock: () => number;
  /** After so long a thread that broke is started again. */
  readonly restartMs?: number;
  /** How long a prompt waits for its answer at most; by its length if absent. */
  readonly promptWaitMs?: number;
}

/** A request that an engine has begun to answer. The body is copied when it is learned, and not changed till then. */
export interface Offer extends Omit<LearnRequest, keyof ContentFacts> {
  readonly facts: ContentFacts | undefined;
}

/** Of one that was slow, or does not tell tokens' texts. */
type EngineRefusal = "failed" | "unsupported";

export class PromptLearner {
  readonly #options: PromptLearnerOptions;
  /** Infinite: a lesson or the thread has it. */
  readonly #known = new KnownKeys();
  readonly #held: HeldAnswers = { bytes: 0 };
  /** Until when engines are left alone, and why; or the renderer, by its origin. */
  readonly #leftAlone = new Map<
    string,
    { readonly untilMs: number; readonly why: EngineRefusal }
  >();
  /** Prompts that may have broken the thread. */
  readonly #suspects = new KnownKeys();
  readonly #waiting = new WaitingJobs(LEARNER_LIMITS);
  #thread: Worker | undefined;
  #storedBytes = 0;
  #restart: NodeJS.Timeout | undefined;
  #restartMs: number;
  #startedAtMs = -Infinity;
  #complainAtMs = -Infinity;
  #isClosed = false;

  constructor(options: PromptLearnerOptions) {
    this.#options = options;
    this.#restartMs = this.#restartMsMin;
    this.#start();
    options.registry.onRender(() => {
      options.registry.set(METRIC.relayLearningWaiting, {}, this.#waiting.count);
      options.registry.set(METRIC.relayLearningStoredBytes, {}, this.#storedBytes);
      options.registry.set(METRIC.relayLearningHeldBytes, {}, this.#held.bytes);
    });
  }

  /** Begins to learn from the request, if there may be something to learn. Whoever began a lesson ends it. */
  begin({ facts, ...rest }: Offer): Lesson | undefined {
    const refusal = this.#judge({ facts, ...rest });
    if (refusal !== undefined) this.#count(refusal);
    if (facts === undefined || (refusal !== undefined && refusal !== "known")) return undefined;
    const request: LearnRequest = { ...rest, ...facts };
    const isPromptNew = refusal === undefined;
    if (isPromptNew) this.#known.remember(keyHex(facts.lastKey), Infinity);
    const { promptWaitMs: waitMs } = this.#options;
    return new Lesson({
      request,
      isPromptNew,
      held: this.#held,
      learn: (what) => this.#learn({ ...request, ...what }),
      onAnswer: (outcome) => this.#countAnswer(outcome),
      ...(waitMs === undefined ? {} : { waitMs }),
    });
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#restart);
    await this.#thread?.terminate();
  }

  /** Hands the job over, if there is room. */
  #learn(job: LearnJob): void {
    const { answer, isPromptNew, lastKey, endpoint } = job;
    const bytes = job.body.byteLength + (answer?.byteLength ?? 0);
    const refusal = this.#engineRefusal(endpoint);
    if (refusal !== undefined) {
      if (answer !== undefined) this.#countAnswer(refusal);
      if (!isPromptNew) return;
      this.#known.forget(keyHex(lastKey));
      return this.#count(refusal);
    }
    if (answer !== undefined && !this.#hasRoom(endpoint, bytes, LEARNER_LIMITS.answersShare)) {
      this.#countAnswer("full");
      const { answer: _, ...prompt } = job;
      if (isPromptNew) this.#learn(prompt);
      return;
    }
    if (!this.#hasRoom(endpoint, bytes, 1)) {
      this.#known.forget(keyHex(lastKey));
      return this.#count("full");
    }
    // A copy with memory of its own, which goes to the thread as it is.
    const body = new Uint8Array(job.body);
    this.#waiting.add(job, bytes);
    const moved =
      answer === undefined ? [body.buffer] : [body.buffer, answer.buffer as ArrayBuffer];
    this.#thread!.postMessage({ ...job, body }, moved);
  }

  /** Within a share of what may wait. */
  #hasRoom(endpoint: string, bytes: number, share: number): boolean {
    return this.#thread !== undefined && this.#waiting.hasRoom(endpoint, bytes, share);
  }

  /** The engine's, or of the renderer that is asked in its place. */
  #engineRefusal(endpoint: string): EngineRefusal | undefined {
    const nowMs = this.#options.clock();
    for (const origin of [this.#options.renderOrigin, endpoint]) {
      const left = origin === undefined ? undefined : this.#leftAlone.get(origin);
      if (left !== undefined && left.untilMs > nowMs) return left.why;
    }
    return undefined;
  }

  #leaveAlone(origin: string, why: EngineRefusal, ms: number): void {
    if (this.#leftAlone.size >= LEARNER_LIMITS.enginesMax) this.#leftAlone.clear();
    this.#leftAlone.set(origin, { untilMs: this.#options.clock() + ms, why });
  }

  #judge({ endpoint, body, facts }: Offer): LearnOutcome | undefined {
    if (facts === undefined) return "unnamed";
    const nowMs = this.#options.clock();
    if (body.byteLength > LEARNER_LIMITS.bodyBytesMax) return "too-large";
    const key = keyHex(facts.lastKey);
    if (this.#suspects.has(key, nowMs)) return "failed";
    const refusal = this.#engineRefusal(endpoint);
    if (refusal !== undefined) return refusal;
    if (this.#known.has(key, nowMs)) return "known";
    return this.#hasRoom(endpoint, body.byteLength, 1) ? undefined : "full";
  }

  #start(): void {
    const { collectors, token, tokensPerKey, promptsPerSecondMax } = this.#options;
    const { areMediaRendered, askMsMax, engineTls, renderOrigin } = this.#options;
    const options: ThreadOptions = {
      collectors,
      token,
      tokensPerKey,
      promptsPerSecondMax,
      areMediaRendered,
      askMsMax,
      engineTls,
      renderOrigin,
    };
    this.#startedAtMs = this.#options.clock();
    const thread = new Worker(new URL("thread.ts", import.meta.url), {
      workerData: options,
      resourceLimits: { maxOldGenerationSizeMb: THREAD_HEAP_MIB_MAX },
    });
    thread.on("message", (message: ThreadReport) => this.#take(message));
    thread.on("error", (err) => {
      this.#options.logger.error({ err }, "learning from prompts broke off");
    });
    thread.on("exit", () => this.#ended());
    this.#thread = thread;
  }

  get #restartMsMin(): number {
    return this.#options.restartMs ?? RESTART_MS;
  }

  /** What the thread had learned or was learning is lost with it. */
  #ended(): void {
    const nowMs = this.#options.clock();
    this.#thread = undefined;
    this.#storedBytes = 0;
    this.#known.clear();
    for (const key of this.#waiting.keys) this.#suspects.remember(key, nowMs + KNOWN_MS);
    this.#waiting.clear();
    if (this.#isClosed) return;
    if (nowMs - this.#startedAtMs >= RESTART_MS_MAX) this.#restartMs = this.#restartMsMin;
    const restartMs = this.#restartMs;
    this.#options.logger.warn({ restartMs }, "learning from prompts begins anew after a pause");
    this.#restart = setTimeout(() => this.#start(), restartMs);
    this.#restartMs = Math.min(2 * restartMs, RESTART_MS_MAX);
  }

  #take(message: ThreadReport): void {
    if (message.kind === "told") {
      const { outcome, count } = message;
      this.#options.registry.inc(METRIC.relayLearningToldTotal, { outcome }, count);
      if (outcome === "unauthorized") this.#complain();
      return;
    }
    if (message.kind === "asked") {
      this.#options.registry.inc(METRIC.relayLearningAskedTotal, { what: message.what });
      return;
    }
    if (message.kind === "slow") return this.#leaveAlone(message.origin, "failed", FAILED_MS);
    this.#done(message);
  }

  #done(message: ThreadReport & { readonly kind: "done" }): void {
    const { endpoint, bytes, lastKey, prompt, answer, learnedKey, mediaBlocks } = message;
    this.#waiting.done(endpoint, lastKey, bytes);
    this.#storedBytes = message.storedBytes;
    const nowMs = this.#options.clock();
    if (prompt !== undefined) {
      // Another engine may tell what a slow one does not.
      if (prompt === "failed" && this.#engineRefusal(endpoint) === "failed") {
        this.#known.forget(lastKey);
      } else {
        this.#known.remember(lastKey, nowMs + (prompt === "learned" ? KNOWN_MS : FAILED_MS));
      }
      this.#count(prompt);
    }
    if (answer !== undefined) this.#countAnswer(answer);
    if (learnedKey !== undefined) this.#known.remember(learnedKey, nowMs + KNOWN_MS);
    if (prompt === "unsupported" || answer === "unsupported") {
      this.#leaveAlone(endpoint, "unsupported", UNSUPPORTED_MS);
    }
    this.#options.registry.inc(METRIC.relayLearningMediaBlocks, {}, mediaBlocks);
  }

  /** Only an operator can cure it, and it happens with every try. */
  #complain(): void {
    const nowMs = this.#options.clock();
    if (nowMs < this.#complainAtMs) return;
    this.#complainAtMs = nowMs + COMPLAIN_MS;
    this.#options.logger.error(
      "a collector does not accept the agent token: --learn-to must name collectors of this pool",
    );
  }

  #count(outcome: LearnOutcome): void {
    this.#options.registry.inc(METRIC.relayLearningTotal, { outcome });
  }

  #countAnswer(outcome: AnswerOutcome): void {
    this.#options.registry.inc(METRIC.relayLearningAnswersTotal, { outcome });
  }
}
