// The directory: pools tell it how they are, isolates read it.
//
//   pool ──summary each second, digest each two──► directory ◄──asked each second── isolate
//
// Each message takes half of the round trip. Of a summary an isolate knows how long it lay in the
// directory, and not how long it was under way.

import type { EventQueue } from "../event-queue.ts";
import type { HeardPool, PoolChoice } from "./choice.ts";
import type { Told } from "./pool-voice.ts";
import { toDirectoryMs, type Topology } from "./topology.ts";

/** What lies there of a pool, and since when. */
interface Entry extends Told {
  readonly atMs: number;
}

export class Directory {
  readonly #queue: EventQueue;
  readonly #told: (Entry | undefined)[];

  constructor(queue: EventQueue, poolCount: number) {
    this.#queue = queue;
    this.#told = Array.from({ length: poolCount });
  }

  /** The pool tells how it is. */
  tell(pool: number, told: Told): void {
    const atMs = this.#queue.nowMs + toDirectoryMs(pool);
    this.#queue.add(atMs, () => (this.#told[pool] = { ...told, atMs }));
  }

  /** Has an isolate read it from `fromMs` on. */
  readBy(
    { choice, region }: { readonly choice: PoolChoice; readonly region: number },
    topology: Topology,
    fromMs: number,
  ): void {
    const queue = this.#queue;
    const read = (): void => {
      queue.add(queue.nowMs + toDirectoryMs(region), () => {
        const told = this.#told.map((one) => one && { ...one, ageMs: queue.nowMs - one.atMs });
        queue.add(queue.nowMs + toDirectoryMs(region), () => {
          const nowMs = queue.nowMs;
          const pools = told.map((one): HeardPool | undefined => {
            if (one === undefined) return undefined;
            const { summary, digest, ageMs } = one;
            return { heard: { summary, sentAtMs: nowMs - ageMs }, digest };
          });
          choice.read!(pools, nowMs);
        });
      });
      queue.add(queue.nowMs + topology.summaryIntervalMs, read);
    };
    if (choice.read !== undefined) queue.add(fromMs, read);
  }
}
