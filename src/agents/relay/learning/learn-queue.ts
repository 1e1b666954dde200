// Which prompt is learned next: a few at a time of an engine, not many of all engines where one renderer tells of them
// all, and not more often than the rate allows. Its length is bounded by whoever fills it.

import { PROMPTS_PER_ENGINE_MAX, PROMPTS_PER_RENDERER_MAX } from "./engine-asker.ts";
import type { LearnJob } from "./thread-messages.ts";

export interface LearnQueueOptions {
  readonly promptsPerSecondMax: number;
  /** Who is asked in the engines' place, if anybody. */
  readonly renderOrigin?: string | undefined;
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
  #allUnderWay = 0;
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

  /** Takes out what waits for an engine, or for the renderer, which is all. */
  take(origin: string): LearnJob[] {
    const isFor = (job: LearnJob) =>
      origin === this.#options.renderOrigin || job.endpoint === origin;
    const taken = this.#waiting.filter(isFor);
    const others = this.#waiting.filter((job) => !isFor(job));
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
    const index = this.#findNext();
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
    this.#allUnderWay++;
    this.#underWay.set(endpoint, (this.#underWay.get(endpoint) ?? 0) + 1);
    void this.#options.learn(job!).finally(() => {
      this.#allUnderWay--;
      const left = this.#underWay.get(endpoint)! - 1;
      if (left === 0) this.#underWay.delete(endpoint);
      else this.#underWay.set(endpoint, left);
      this.#advance();
    });
    this.#advance();
  }

  /** Below 0 where none may begin. */
  #findNext(): number {
    const { renderOrigin } = this.#options;
    if (renderOrigin !== undefined && this.#allUnderWay >= PROMPTS_PER_RENDERER_MAX) return -1;
    return this.#waiting.findIndex(({ endpoint }) => {
      return (this.#underWay.get(endpoint) ?? 0) < PROMPTS_PER_ENGINE_MAX;
    });
  }
}
