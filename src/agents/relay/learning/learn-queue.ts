// Which prompt is learned next: one at a time of an engine, and not more often than the rate allows. Its length
// is bounded by whoever fills it.

import type { LearnJob } from "./learn-prompt.ts";

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
  readonly #busy = new Set<string>();
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

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
  }

  /** Begins what may begin now; comes again by itself when more may. */
  #advance(): void {
    if (this.#timer !== undefined || this.#isClosed) return;
    const index = this.#waiting.findIndex(({ endpoint }) => !this.#busy.has(endpoint));
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
    this.#busy.add(job!.endpoint);
    void this.#options.learn(job!).finally(() => {
      this.#busy.delete(job!.endpoint);
      this.#advance();
    });
    this.#advance();
  }
}
