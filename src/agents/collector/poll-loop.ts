/** Intervals vary by up to this share, so that endpoints do not beat in step. */
const JITTER = 0.1;

/** Does something again and again, one at a time: a slow one delays the next, and is not doubled. */
export class PollLoop {
  readonly #intervalMs: number;
  readonly #poll: () => Promise<void>;
  #timer: NodeJS.Timeout;
  #isStopped = false;

  /** The first time is within the first interval: loops that start together spread. `poll` must not reject. */
  constructor(intervalMs: number, poll: () => Promise<void>) {
    this.#intervalMs = intervalMs;
    this.#poll = poll;
    this.#timer = setTimeout(() => void this.#tick(), Math.random() * intervalMs);
  }

  /** What is under way ends by itself; nothing follows. */
  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
  }

  async #tick(): Promise<void> {
    const startedAtMs = performance.now();
    await this.#poll();
    if (this.#isStopped) return;
    const jitter = 1 + JITTER * (2 * Math.random() - 1);
    const delayMs = this.#intervalMs * jitter - (performance.now() - startedAtMs);
    this.#timer = setTimeout(() => void this.#tick(), Math.max(0, delayMs));
  }
}
