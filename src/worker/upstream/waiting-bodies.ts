// Bodies of requests that wait in pools' queues, or are about to. What they hold has a bound of its own.

import { DEPLOYMENT_LIMITS } from "../../config/deployment.ts";

/** Of one isolate, over all pools. A body that was changed for the engines may be held twice. */
export const WAITING_BODY_BYTES_MAX = DEPLOYMENT_LIMITS.waitingBodyBytesMax;

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
