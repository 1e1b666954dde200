// Whether relays still tell what they told an earlier life, or will. A relay is known by its connection. One that
// loses it is waited for a little longer: it may have been refused, or too slow, and comes again.

import type { Socket } from "node:net";

/** Relays that have more to tell again are waited for so long from when a life begins, and not for ever. */
export const TOLD_AGAIN_MS_MAX = 10_000;
/** How long a relay that lost its connection is waited for. It pauses 500 ms at most before it comes again. */
export const GONE_MS = 1_000;

export class ToldAgain {
  readonly #clock: () => number;
  /** The present life, as relays were told. */
  #epoch: string;
  #sinceMs: number;
  /** Connections of relays that have more to tell again. Bounded as connections are. */
  readonly #behind = new Set<Socket>();
  /** Those that were behind before, in whatever life. */
  readonly #watched = new WeakSet<Socket>();
  /** Until when those are waited for that were behind and lost their connections. */
  #goneUntilMs = -Infinity;

  /** Milliseconds of any origin. */
  constructor(epoch: string, clock: () => number) {
    this.#epoch = epoch;
    this.#clock = clock;
    this.#sinceMs = clock();
  }

  get isUnderWay(): boolean {
    const nowMs = this.#clock();
    const isAwaited = this.#behind.size > 0 || nowMs < this.#goneUntilMs;
    return isAwaited && nowMs < this.#sinceMs + TOLD_AGAIN_MS_MAX;
  }

  /** A relay's message has come that says of `caughtUp` that it has told that life all again; an older one says nothing. */
  arrive(socket: Socket, caughtUp: string | undefined, epoch: string): void {
    if (this.#epoch !== epoch) {
      this.#epoch = epoch;
      this.#sinceMs = this.#clock();
    }
    if (caughtUp === undefined || caughtUp === epoch || this.#behind.has(socket)) return;
    if (socket.destroyed) return this.#lose(socket);
    this.#behind.add(socket);
    if (this.#watched.has(socket)) return;
    this.#watched.add(socket);
    socket.once("close", () => {
      if (this.#behind.has(socket)) this.#lose(socket);
    });
  }

  /** The message was taken: what it says to have been told with it now has been. */
  take(socket: Socket, caughtUp: string | undefined, epoch: string): void {
    this.arrive(socket, caughtUp, epoch);
    if (caughtUp === undefined || caughtUp === epoch) this.#behind.delete(socket);
  }

  #lose(socket: Socket): void {
    this.#behind.delete(socket);
    this.#goneUntilMs = this.#clock() + GONE_MS;
  }
}
