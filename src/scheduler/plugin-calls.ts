// How a decision calls its plugins: each draws numbers of its own, and one that throws is left out.
//
//   numbers   seed ^ profile ^ hash of the instance's name: what one plugin draws, or that it draws at
//             all, changes nothing for another; records and replays rely on it
//   throws    producer: its data reads as absent in this decision    scorer: 0 for all
//             filter, screener: keeps all                            admitter: admits
//             a listener of picks: nothing                           handler, decider, picker: the
//             decision throws, for there is none without them
//
// Registered plugins do not throw; whoever adds one of his own may find that it does.

import type { NarrowingContext } from "./plugin.ts";
import { ReseedableRng, type Rng } from "./support/rng.ts";

/** An instance with what is needed to call it. */
export interface Called<Plugin> {
  readonly plugin: Plugin;
  readonly name: string;
  readonly type: string;
  readonly salt: number;
}

/** Told of a plugin that threw. What it throws itself ends the decision. */
export type OnPluginFailed = (type: string, error: unknown) => void;

/** Of one pool. */
export class PluginCalls {
  readonly #rng = new ReseedableRng();
  readonly #onFailed: OnPluginFailed;
  #seed = 0;

  constructor(onFailed: OnPluginFailed) {
    this.#onFailed = onFailed;
  }

  /** What a context's `rng` is while a decision runs. */
  get rng(): Rng {
    return this.#rng.next;
  }

  /** The seed of the calls that follow: a decision's, or that of a profile in it. */
  begin(seed: number): void {
    this.#seed = seed;
  }

  /** Before each call of a plugin that may draw. */
  enter({ salt }: Called<unknown>): void {
    this.#rng.reseed(this.#seed ^ salt);
  }

  failed({ type }: Called<unknown>, error: unknown): void {
    this.#onFailed(type, error);
  }

  /** Tells everybody, whoever throws. */
  tell<Plugin>(all: readonly Called<Plugin>[], what: (plugin: Plugin) => void): void {
    for (const called of all) {
      this.enter(called);
      try {
        what(called.plugin);
      } catch (error) {
        this.failed(called, error);
      }
    }
  }
}

/** FNV-1a over UTF-16 units. */
export function saltOfName(name: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x0100_0193);
  return hash >>> 0;
}

/** Narrows to what `before` holds, as if nothing had been removed since. */
export function restoreCandidates(context: NarrowingContext, before: Int32Array): void {
  context.candidates.set(before);
  context.candidateCount = before.length;
}
