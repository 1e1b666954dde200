// The relay's side of learning what content becomes: what is worth learning from, and that it costs requests
// nothing. A thread does the rest:
//
//   request answered ──offer──► known? full? ──copy──► thread: read, ask the engine, align ──► collectors
//                                 └──► counted                    │
//                      known, for a while ◄──── done ─────────────┘
//
// Nothing here waits, and nothing fails a request. What is not taken is counted and forgotten: the next request
// of its kind is another chance.

import { Worker } from "node:worker_threads";
import { METRIC } from "../../../telemetry/names.ts";
import type { MetricRegistry } from "../../../telemetry/metrics.ts";
import type { Logger } from "../../process/logger.ts";
import { keyHex, type ContentFacts } from "../../protocol/content-header.ts";
import type { ToldOutcome } from "./collector-feed.ts";
import type { AskedFor } from "./engine-asker.ts";
import type { LearnJob } from "./learn-prompt.ts";
import type { LearnOutcome } from "./outcomes.ts";

export const LEARNER_LIMITS = {
  /** Prompts handed to the thread and not done. */
  waitingMax: 256,
  /** Bodies of these. */
  waitingBytesMax: 32 * 1024 * 1024,
  /** A longer body is not learned from: its content keys end at 512 KiB. */
  bodyBytesMax: 4 * 1024 * 1024,
  /** Last keys of prompts that are known. The oldest goes first. */
  knownMax: 65_536,
  /** Engines that do not tell tokens' texts. */
  enginesMax: 4_096,
} as const;

/** After that a prompt is learned again: templates change with engines, and collectors forget. */
export const KNOWN_MS = 600_000;
/** After that a prompt that could not be learned is tried again. */
const FAILED_MS = 60_000;
/** After that an engine that does not tell is asked again. */
const UNSUPPORTED_MS = 300_000;
const RESTART_MS = 10_000;
/** A mistake of the configuration is said again after this. */
const COMPLAIN_MS = 60_000;
const THREAD_HEAP_MIB_MAX = 512;

export interface ThreadOptions {
  /** Base URLs of the collectors' learning ports. */
  readonly collectors: readonly string[];
  readonly token: string;
  readonly tokensPerKey: number;
  readonly promptsPerSecondMax: number;
  readonly areMediaRendered: boolean;
}

export type ThreadReport =
  | {
      readonly kind: "done";
      readonly endpoint: string;
      /** Of the body. */
      readonly bytes: number;
      readonly lastKey: string;
      readonly outcome: LearnOutcome;
      /** Content blocks from a media item on that stay unknown. */
      readonly mediaBlocks: number;
      /** Of all messages that are kept. */
      readonly storedBytes: number;
    }
  | { readonly kind: "told"; readonly outcome: ToldOutcome }
  | { readonly kind: "asked"; readonly what: AskedFor };

export interface PromptLearnerOptions extends ThreadOptions {
  readonly logger: Logger;
  readonly registry: MetricRegistry;
  /** Milliseconds of any origin. */
  readonly clock: () => number;
  /** After so long a thread that broke is started again. */
  readonly restartMs?: number;
}

/** A request that an engine has begun to answer. The body is copied, if it is taken. */
export interface Offer {
  readonly endpoint: string;
  readonly path: string;
  readonly body: Uint8Array;
  readonly facts: ContentFacts | undefined;
}

export class PromptLearner {
  readonly #options: PromptLearnerOptions;
  /** Until when the prompts with these last keys are left alone. Infinite: they are with the thread. */
  readonly #known = new Map<string, number>();
  readonly #unsupported = new Map<string, number>();
  #thread: Worker | undefined;
  #waiting = 0;
  #waitingBytes = 0;
  #storedBytes = 0;
  #restart: NodeJS.Timeout | undefined;
  #complainAtMs = -Infinity;
  #isClosed = false;

  constructor(options: PromptLearnerOptions) {
    this.#options = options;
    this.#start();
    options.registry.onRender(() => {
      options.registry.set(METRIC.relayLearningWaiting, {}, this.#waiting);
      options.registry.set(METRIC.relayLearningStoredBytes, {}, this.#storedBytes);
    });
  }

  /** Takes the request to learn from, if there is something to learn and room. */
  offer(offer: Offer): void {
    const refusal = this.#judge(offer);
    if (refusal !== undefined) return this.#count(refusal);
    const { endpoint, path } = offer;
    const { root, lastKey } = offer.facts!;
    // A copy with memory of its own, which goes to the thread as it is.
    const body = new Uint8Array(offer.body);
    const job: LearnJob = { endpoint, path, body, root, lastKey };
    this.#waiting += 1;
    this.#waitingBytes += body.byteLength;
    this.#remember(keyHex(lastKey), Infinity);
    this.#thread!.postMessage(job, [body.buffer]);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#restart);
    await this.#thread?.terminate();
  }

  #judge({ endpoint, body, facts }: Offer): LearnOutcome | undefined {
    if (facts === undefined) return "unnamed";
    const nowMs = this.#options.clock();
    if ((this.#known.get(keyHex(facts.lastKey)) ?? -Infinity) > nowMs) return "known";
    if (body.byteLength > LEARNER_LIMITS.bodyBytesMax) return "too-large";
    if ((this.#unsupported.get(endpoint) ?? -Infinity) > nowMs) return "unsupported";
    const isFull =
      this.#waiting >= LEARNER_LIMITS.waitingMax ||
      this.#waitingBytes + body.byteLength > LEARNER_LIMITS.waitingBytesMax;
    return isFull || this.#thread === undefined ? "full" : undefined;
  }

  #start(): void {
    const { collectors, token, tokensPerKey, promptsPerSecondMax, areMediaRendered } =
      this.#options;
    const options: ThreadOptions = {
      collectors,
      token,
      tokensPerKey,
      promptsPerSecondMax,
      areMediaRendered,
    };
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

  /** What the thread had learned or was learning is lost with it. */
  #ended(): void {
    this.#thread = undefined;
    this.#waiting = 0;
    this.#waitingBytes = 0;
    this.#storedBytes = 0;
    this.#known.clear();
    if (this.#isClosed) return;
    this.#restart = setTimeout(() => this.#start(), this.#options.restartMs ?? RESTART_MS);
  }

  #take(message: ThreadReport): void {
    if (message.kind === "told") {
      this.#options.registry.inc(METRIC.relayLearningToldTotal, { outcome: message.outcome });
      if (message.outcome === "unauthorized") this.#complain();
      return;
    }
    if (message.kind === "asked") {
      this.#options.registry.inc(METRIC.relayLearningAskedTotal, { what: message.what });
      return;
    }
    const { endpoint, bytes, lastKey, outcome, mediaBlocks, storedBytes } = message;
    this.#waiting -= 1;
    this.#waitingBytes -= bytes;
    this.#storedBytes = storedBytes;
    const nowMs = this.#options.clock();
    this.#remember(lastKey, nowMs + (outcome === "learned" ? KNOWN_MS : FAILED_MS));
    if (outcome === "unsupported") {
      if (this.#unsupported.size >= LEARNER_LIMITS.enginesMax) this.#unsupported.clear();
      this.#unsupported.set(endpoint, nowMs + UNSUPPORTED_MS);
    }
    this.#count(outcome);
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

  #remember(lastKey: string, untilMs: number): void {
    this.#known.delete(lastKey);
    this.#known.set(lastKey, untilMs);
    if (this.#known.size <= LEARNER_LIMITS.knownMax) return;
    for (const oldest of this.#known.keys()) {
      this.#known.delete(oldest);
      break;
    }
  }

  #count(outcome: LearnOutcome): void {
    this.#options.registry.inc(METRIC.relayLearningTotal, { outcome });
  }
}
