// What is going to happen, in order of virtual time: a binary heap.
//
// Events of the same time happen in the order they were added, so a run repeats exactly.

export class EventQueue {
  readonly #times: number[] = [];
  readonly #orders: number[] = [];
  readonly #events: (() => void)[] = [];
  #added = 0;
  #nowMs = 0;

  /** Virtual milliseconds since the start: the time of the event that happens now. */
  get nowMs(): number {
    return this.#nowMs;
  }

  get size(): number {
    return this.#times.length;
  }

  /** `event` will be called at `atMs`, which must not lie in the past. */
  add(atMs: number, event: () => void): void {
    const order = this.#added++;
    let at = this.#times.length;
    this.#times.push(atMs);
    this.#orders.push(order);
    this.#events.push(event);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      // The new event has the highest order, so it stays behind its equals.
      if (this.#times[parent]! <= atMs) break;
      this.#copy(parent, at);
      at = parent;
    }
    this.#place(at, atMs, order, event);
  }

  /** Lets the next event happen. False when there is none. */
  runNext(): boolean {
    const event = this.#events[0];
    if (event === undefined) return false;
    this.#nowMs = this.#times[0]!;
    const lastMs = this.#times.pop()!;
    const lastOrder = this.#orders.pop()!;
    const last = this.#events.pop()!;
    if (this.#times.length > 0) this.#sink(lastMs, lastOrder, last);
    event();
    return true;
  }

  /** Puts an event in at the top, which is free, and lets it sink. */
  #sink(atMs: number, order: number, event: () => void): void {
    const size = this.#times.length;
    let at = 0;
    for (let child = 1; child < size; child = 2 * at + 1) {
      if (child + 1 < size && this.#isBefore(child + 1, this.#times[child]!, this.#orders[child]!))
        child++;
      if (!this.#isBefore(child, atMs, order)) break;
      this.#copy(child, at);
      at = child;
    }
    this.#place(at, atMs, order, event);
  }

  #isBefore(at: number, atMs: number, order: number): boolean {
    const time = this.#times[at]!;
    return time < atMs || (time === atMs && this.#orders[at]! < order);
  }

  #copy(from: number, to: number): void {
    this.#place(to, this.#times[from]!, this.#orders[from]!, this.#events[from]!);
  }

  #place(at: number, atMs: number, order: number, event: () => void): void {
    this.#times[at] = atMs;
    this.#orders[at] = order;
    this.#events[at] = event;
  }
}
