// One direction of a connection through a link: bytes come out later than they went in, in order.
//
//   from ──data──► queue, each chunk with the time it is due ──one timer──► to
//           ▲                                                     │
//           └── paused while the queue is full ◄── or `to` is ────┘
//
// A chunk is due when it has left at the link's rate and travelled half a round trip. One that is due before
// the chunk ahead of it waits for that, as on TCP.

import type { Socket } from "node:net";

/** On their way in one direction of one connection: half a second of 16 Mbit/s. The sender waits beyond. */
export const IN_FLIGHT_BYTES_MAX = 1024 * 1024;
/** And as many chunks, which may be tiny. */
export const IN_FLIGHT_CHUNKS_MAX = 4_096;

/** How a link treats bytes; its owner changes it while they flow. */
export interface Shape {
  readonly rttMs: number;
  /** Added at random to each chunk, up to this. */
  readonly jitterMs: number;
  /** Of each direction of each connection; null: unlimited. */
  readonly bytesPerSecond: number | null;
}

export interface PipeOptions {
  readonly from: Socket;
  readonly to: Socket;
  /** Asked for each chunk. */
  readonly shape: () => Shape;
  /** Nothing leaves before it, as of performance.now(): a handshake takes a round trip, too. */
  readonly openMs: number;
  /** `from` was reset, and by now `to` would know. */
  readonly onReset: () => void;
}

interface Travelling {
  readonly dueMs: number;
  readonly what: Buffer | "end" | "reset";
}

export class DelayedPipe {
  readonly #options: PipeOptions;
  #queue: Travelling[] = [];
  #bytes = 0;
  /** When the last chunk has left the sender. */
  #sentMs: number;
  #timer: NodeJS.Timeout | undefined;
  #isBlocked = false;
  #isStopped = false;
  #hasEnded = false;

  constructor(options: PipeOptions) {
    this.#options = options;
    this.#sentMs = options.openMs;
    const { from, to } = options;
    from.on("data", (chunk: Buffer) => this.#take(chunk, chunk.byteLength));
    from.on("end", () => this.#finish("end"));
    // An error is followed by a close; without an end before it, the bytes are not whole.
    from.on("close", () => this.#finish("reset"));
    to.on("drain", () => {
      this.#isBlocked = false;
      this.#deliver();
    });
  }

  /** From now on bytes vanish, those on their way too, and the end of `from` with them. */
  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#queue = [];
    this.#options.from.resume();
  }

  #finish(how: "end" | "reset"): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#take(how, 0);
  }

  #take(what: Travelling["what"], bytes: number): void {
    if (this.#isStopped) return;
    const { rttMs, jitterMs, bytesPerSecond } = this.#options.shape();
    const sendMs = bytesPerSecond === null ? 0 : (bytes / bytesPerSecond) * 1_000;
    this.#sentMs = Math.max(this.#sentMs, performance.now()) + sendMs;
    this.#queue.push({ dueMs: this.#sentMs + rttMs / 2 + Math.random() * jitterMs, what });
    this.#bytes += bytes;
    if (this.#bytes >= IN_FLIGHT_BYTES_MAX || this.#queue.length >= IN_FLIGHT_CHUNKS_MAX)
      this.#options.from.pause();
    this.#arm();
  }

  #arm(): void {
    const [first] = this.#queue;
    if (first === undefined || this.#isBlocked || this.#timer !== undefined) return;
    const waitMs = Math.max(0, first.dueMs - performance.now());
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#deliver();
    }, waitMs);
  }

  /** Writes all that is due, as one write; `to` may then ask for a pause. */
  #deliver(): void {
    const { from, to } = this.#options;
    // Timers are early by up to a millisecond.
    const nowMs = performance.now() + 0.5;
    let count = 0;
    to.cork();
    while (count < this.#queue.length && !this.#isBlocked) {
      const { dueMs, what } = this.#queue[count]!;
      if (dueMs > nowMs) break;
      count++;
      if (what === "reset") return this.#options.onReset();
      if (what === "end") to.end();
      else {
        this.#bytes -= what.byteLength;
        this.#isBlocked = !to.write(what);
      }
    }
    to.uncork();
    this.#queue.splice(0, count);
    const isFull =
      this.#bytes >= IN_FLIGHT_BYTES_MAX / 2 || this.#queue.length >= IN_FLIGHT_CHUNKS_MAX / 2;
    if (!isFull && from.isPaused()) from.resume();
    this.#arm();
  }
}
