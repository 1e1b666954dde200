// Which prompt is learned next: a few at a time of an engine, and not more often than the rate allows. Its
// length is bounded by whoever fills it.

import { PROMPTS_PER_ENGINE_MAX } from "./engine-asker.ts";
import type { LearnJob } from "./thread-messages.ts";

export interface LearnQueueOptions {
  readonly promptsPerSecondMax: number;
  /** Milliseconds of any origin. */
  readonly clock: () => number;
  /** Learns it. Must not reject. */
  readonly learn: (job: LearnJob) => Promise<void>;
}

export class LearnQueue {
  readonly #options: LearnQueueOptions;
  readonly #waiting: LearnJob[] = [];
  /** How many are being learned, by engine. */
  readonly #underWay = new Map<string, number>();
  #nextAtMs = -Infinity;
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(options: LearnQueueOptions) {
    this.#options = options;
  }

  add(job: LearnJob): void {
    this.#waiting.push(job);
    this.#advance();
  }

  /** Takes out what waits for an engine. */
  take(endpoint: string): LearnJob[] {
    const taken = this.#waiting.filter((job) => job.endpoint === endpoint);
    const others = this.#waiting.filter((job) => job.endpoint !== endpoint);
    this.#waiting.splice(0, Infinity, ...others);
    return taken;
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
  }

  /** Begins what may begin now; comes again by itself when more may. */
  #advance(): void {
    if (this.#timer !== undefined || this.#isClosed) return;
    const index = this.#waiting.findIndex(({ endpoint }) => {
      return (this.#underWay.get(endpoint) ?? 0) < PROMPTS_PER_ENGINE_MAX;
    });
    if (index < 0) return;
    const nowMs = this.#options.clock();
    if (nowMs < this.#nextAtMs) {
      this.#timer = setTimeout(() => {
        this.#timer = undefined;
        this.#advance();
      }, this.#nextAtMs - nowMs);
      return;
    }
    this.#nextAtMs = nowMs + 1_000 / this.#options.promptsPerSecondMax;
    const [job] = this.#waiting.splice(index, 1);
    const { endpoint } = job!;
    this.#underWay.set(endpoint, (this.#underWay.get(endpoint) ?? 0) + 1);
    void this.#options.learn(job!).finally(() => {
      const left = this.#underWay.get(endpoint)! - 1;
      if (left === 0) this.#underWay.delete(endpoint);
      else this.#underWay.set(endpoint, left);
      this.#advance();
    });
    this.#advance();
  }
}
