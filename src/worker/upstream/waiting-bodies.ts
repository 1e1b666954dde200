// Bodies of requests that wait in pools' queues. An isolate has 128 MB for all of its requests; those that
// wait stay long, so what they hold has a bound of its own.

/** Of one isolate, over all pools. A body that was changed for the engines may be held twice. */
export const WAITING_BODY_BYTES_MAX = 24 * 1024 * 1024;

export class WaitingBodies {
  #heldBytes = 0;

  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** False: there is no room, and nothing is held. Otherwise `release` as many. */
  tryHold(bytes: number): boolean {
    if (this.#heldBytes + bytes > WAITING_BODY_BYTES_MAX) return false;
    this.#heldBytes += bytes;
    return true;
  }

  release(bytes: number): void {
    this.#heldBytes -= bytes;
  }
}
