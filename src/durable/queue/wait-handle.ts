// What a Worker holds while its request waits: the way to hear of its turn, and its place in the queue.

import { RpcTarget } from "cloudflare:workers";
import type { NumberedPlace, PickGrant, PickRefusal } from "../contract.ts";
import type { PickHandle } from "../pick-handle.ts";

/** A grant and the handle that guards it. */
export type GuardedGrant = PickGrant & { readonly handle: PickHandle };

/** Who answers a handle's calls. */
export interface WaitDesk {
  wait(): Promise<GuardedGrant | PickRefusal | NumberedPlace>;
  dropped(): void;
}

/**
 * It reaches the Worker before its request's turn comes, so the runtime can tell that the Worker's
 * context has ended: whoever left waits no more, and a grant that nobody took is given back.
 */
export class WaitHandle extends RpcTarget {
  readonly #desk: WaitDesk;

  constructor(desk: WaitDesk) {
    super();
    this.#desk = desk;
  }

  /** See WaitPort. */
  wait(): Promise<GuardedGrant | PickRefusal | NumberedPlace> {
    return this.#desk.wait();
  }

  [Symbol.dispose](): void {
    this.#desk.dropped();
  }
}
