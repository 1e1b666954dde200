// What the object was told of the cluster's objectives and rewrites, and what it has still to be told: all of
// it, after every change, to an object that takes it.

import type { ToldResources } from "../discovery/endpoint-source.ts";
import { encodeFrame, FRAME } from "../protocol/codec.ts";
import type { Configure } from "../protocol/messages.ts";
import type { PoolSession } from "../session/pool-session.ts";

/** A kind that is not known is looked for again: that it is heard of does not mean that it has changed. */
const LOOK_MS = 1_000;

export class ResourcesTeller {
  readonly #resources: ToldResources;
  #isWanted = false;
  #dueAtMs = 0;
  /** As JSON; "" while the object knows nothing. */
  #sent = "";

  constructor(resources: ToldResources) {
    this.#resources = resources;
  }

  configured({ takesResources }: Configure): void {
    this.#isWanted = takesResources === true;
  }

  /** Something may have changed. */
  changed(): void {
    this.#dueAtMs = 0;
  }

  forgetSent(): void {
    this.#sent = "";
    this.#dueAtMs = 0;
  }

  flush(send: PoolSession["send"]): void {
    const nowMs = performance.now();
    if (!this.#isWanted || nowMs < this.#dueAtMs) return;
    const resources = this.#resources.current();
    const isComplete = resources.objectives !== undefined && resources.rewrites !== undefined;
    const json = JSON.stringify(resources);
    if (json !== this.#sent && json !== "{}") {
      const payload = Buffer.from(json);
      if (!send((place) => encodeFrame({ type: FRAME.resources, ...place }, payload))) return;
      this.#sent = json;
    }
    this.#dueAtMs = isComplete ? Infinity : nowMs + LOOK_MS;
  }
}
