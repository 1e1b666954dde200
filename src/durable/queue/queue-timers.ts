// When a queue is looked at though nothing has happened: after a turn for others, and as time passes.

/** What ends by time alone, leases and samples among it, is looked at this often. */
const POLL_MS = 250;
const POLL_MS_MIN = 10;

export interface QueueTimersOptions {
  readonly setTimer: (callback: () => void, ms: number) => void;
  readonly drain: () => void;
  readonly tick: () => void;
  /** Somebody waits, or is to be told of the end. */
  readonly isNeeded: () => boolean;
  /** From now until the first wait ends by time. */
  readonly untilMs: () => number;
}

export class QueueTimers {
  readonly #options: QueueTimersOptions;
  #isDrainSet = false;
  #isTickSet = false;

  constructor(options: QueueTimersOptions) {
    this.#options = options;
  }

  /** The queue is drained on once others have been heard. */
  soon(): void {
    if (this.#isDrainSet) return;
    this.#isDrainSet = true;
    this.#options.setTimer(() => {
      this.#isDrainSet = false;
      this.#options.drain();
    }, 0);
  }

  /** Looks at what ends by time alone, for as long as that is needed. */
  arm(): void {
    if (this.#isTickSet || !this.#options.isNeeded()) return;
    this.#isTickSet = true;
    this.#options.setTimer(
      () => {
        this.#isTickSet = false;
        try {
          this.#options.tick();
        } finally {
          this.arm();
        }
      },
      Math.max(POLL_MS_MIN, Math.min(POLL_MS, this.#options.untilMs())),
    );
  }
}
