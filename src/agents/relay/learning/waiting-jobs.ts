// What the thread was handed and has not done. Each engine may have as much of the room as it leaves free: one
// whose answers do not come has half of it at most, and others go on in the rest.

import { keyHex } from "../../protocol/content-header.ts";
import type { LearnJob } from "./thread-messages.ts";

export interface WaitingLimits {
  readonly waitingMax: number;
  /** Of bodies and answers. */
  readonly waitingBytesMax: number;
}

interface Held {
  readonly count: number;
  readonly bytes: number;
}

const NOTHING: Held = { count: 0, bytes: 0 };

export class WaitingJobs {
  readonly #limits: WaitingLimits;
  #all = NOTHING;
  readonly #byEngine = new Map<string, Held>();
  /** How often each prompt's last key is with the thread. */
  readonly #byKey = new Map<string, number>();

  constructor(limits: WaitingLimits) {
    this.#limits = limits;
  }

  get count(): number {
    return this.#all.count;
  }

  /** Last keys of the prompts that the thread has. */
  get keys(): Iterable<string> {
    return this.#byKey.keys();
  }

  /** Whether so many bytes more of an engine find room, within a share of it all. */
  hasRoom(endpoint: string, bytes: number, share: number): boolean {
    const { waitingMax, waitingBytesMax } = this.#limits;
    const own = this.#byEngine.get(endpoint) ?? NOTHING;
    const isCountFree = own.count < share * waitingMax - this.#all.count;
    return isCountFree && own.bytes + bytes <= share * waitingBytesMax - this.#all.bytes;
  }

  add(job: Pick<LearnJob, "endpoint" | "lastKey">, bytes: number): void {
    const key = keyHex(job.lastKey);
    this.#change(job.endpoint, { count: 1, bytes });
    this.#byKey.set(key, (this.#byKey.get(key) ?? 0) + 1);
  }

  done(endpoint: string, lastKey: string, bytes: number): void {
    this.#change(endpoint, { count: -1, bytes: -bytes });
    const left = (this.#byKey.get(lastKey) ?? 0) - 1;
    if (left > 0) this.#byKey.set(lastKey, left);
    else this.#byKey.delete(lastKey);
  }

  clear(): void {
    this.#all = NOTHING;
    this.#byEngine.clear();
    this.#byKey.clear();
  }

  #change(endpoint: string, more: Held): void {
    const own = sum(this.#byEngine.get(endpoint) ?? NOTHING, more);
    this.#all = sum(this.#all, more);
    if (own.count === 0) this.#byEngine.delete(endpoint);
    else this.#byEngine.set(endpoint, own);
  }
}

function sum(a: Held, b: Held): Held {
  return { count: a.count + b.count, bytes: a.bytes + b.bytes };
}
