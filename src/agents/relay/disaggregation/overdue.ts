// A time until which something has to be done.

export class Overdue {
  readonly #controller = new AbortController();
  readonly #timer: NodeJS.Timeout;

  constructor(ms: number) {
    this.#timer = setTimeout(() => this.#controller.abort(), ms);
  }

  /** Aborted when the time is over. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** It was done, or has no time any more that it must keep. May be called again. */
  stop(): void {
    clearTimeout(this.#timer);
  }
}
