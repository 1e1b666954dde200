// What an EndpointPicker knows of the decision in progress. It owns one of each and clears it before
// the next.

import type { DataByKey, DataKey, DataReader, PrefixMatch } from "./data/data.ts";
import { CONTENT_BLOCK_TOKENS } from "./kv/content-keys.ts";
import { ENDPOINTS_MAX } from "./model/endpoint-table.ts";
import type { ProfileResults } from "./plugin.ts";
import type { Plugins } from "./plugins.ts";

/** No slots. */
export const NOBODY = new Int32Array(0);

/** Choices of the profiles that have run. */
export class Results implements ProfileResults {
  readonly #slots = new Map<string, Int32Array>();
  firstSlot = -1;

  clear(): void {
    this.#slots.clear();
    this.firstSlot = -1;
  }

  add(profile: string, slots: Int32Array): void {
    this.#slots.set(profile, slots);
    if (this.firstSlot < 0 && slots.length > 0) this.firstSlot = slots[0]!;
  }

  slotOf(profile: string): number | undefined {
    const slots = this.#slots.get(profile);
    return slots === undefined ? undefined : (slots[0] ?? -1);
  }

  slotsOf(profile: string): Int32Array {
    return this.#slots.get(profile) ?? NOBODY;
  }
}

/** Data of the decision in progress, without that of producers that threw. */
export class Data implements DataReader {
  readonly #plugins: Plugins;
  /** Producers that threw in this decision. */
  readonly #absent = new Set<string>();

  constructor(plugins: Plugins) {
    this.#plugins = plugins;
  }

  clear(): void {
    if (this.#absent.size > 0) this.#absent.clear();
  }

  fail(producer: string): void {
    this.#absent.add(producer);
  }

  get<Key extends DataKey>(key: Key, producer: string): DataByKey[Key] | undefined {
    if (this.#absent.size > 0 && this.#absent.has(producer)) return undefined;
    return this.#plugins.find(producer)?.data?.[key];
  }
}

/** Of a decision whose prefix producer threw. */
const NOTHING = new Int32Array(ENDPOINTS_MAX);
export const NO_MATCH: PrefixMatch = {
  matchedBlocks: NOTHING,
  weightedBlocks: NOTHING,
  totalBlocks: 0,
  blockTokens: CONTENT_BLOCK_TOKENS,
};
