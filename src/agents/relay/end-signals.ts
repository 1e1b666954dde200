// The signals of requests under way, which all end when their relay stops.
//
// In place of AbortSignal.any over one signal for all: that keeps a weak reference a request, and its list
// of listeners is walked by each that is added.

export class EndSignals {
  /** As many as requests are carried. */
  readonly #open = new Set<AbortController>();
  #areAllEnded = false;

  /** A new request's; aborted already if the relay has stopped. */
  open(): AbortController {
    const controller = new AbortController();
    if (this.#areAllEnded) controller.abort();
    else this.#open.add(controller);
    return controller;
  }

  /** The request has ended. */
  close(controller: AbortController): void {
    this.#open.delete(controller);
  }

  endAll(): void {
    this.#areAllEnded = true;
    for (const controller of this.#open) controller.abort();
    this.#open.clear();
  }
}
