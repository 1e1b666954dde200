// What a Worker holds while it serves a request: its grant, and the duty to give it back.

import { RpcTarget } from "cloudflare:workers";
import type { WorkerEnd, WorkerRelease } from "./contract.ts";

/** Who answers a handle's calls. */
export interface PickDesk {
  release(ticket: string, how: WorkerRelease, holder: number): void;
  abandon(ticket: string, holder: number): void;
  learn(ticket: string, keys: Uint32Array, holder: number): void;
  settle(ticket: string, end: WorkerEnd, holder: number): void;
}

/**
 * Guards one grant. It travels with the grant, in one call. The runtime disposes it when the
 * Worker's context ends, however it ends, so a claim never outlives its request: what no relay has
 * taken over is released then.
 */
export class PickHandle extends RpcTarget {
  readonly #desk: PickDesk;
  readonly #ticket: string;
  readonly #holder: number;

  /** `holder` tells this handle from every other one of the object. */
  constructor(desk: PickDesk, ticket: string, holder: number) {
    super();
    this.#desk = desk;
    this.#ticket = ticket;
    this.#holder = holder;
  }

  /** Releases the grant's load, in the Worker's words. */
  release(how: WorkerRelease): void {
    this.#desk.release(this.#ticket, how, this.#holder);
  }

  /** See GrantHandle. */
  learn(keys: Uint32Array): void {
    this.#desk.learn(this.#ticket, keys, this.#holder);
  }

  /** See GrantHandle. */
  settle(end: WorkerEnd): void {
    this.#desk.settle(this.#ticket, end, this.#holder);
  }

  [Symbol.dispose](): void {
    this.#desk.abandon(this.#ticket, this.#holder);
  }
}
