// Keys of one section of a KV frame, by how they are held, while they are gathered.

import { HELD_ON_GPU, type Holding, NOT_HELD } from "../../../scheduler/kv/residency/holding.ts";
import type { KvSection } from "../../protocol/kv-frames.ts";

/** Keys of one section: what one endpoint may say before the others have their turn. */
const SECTION_KEYS_MAX = 2_048;

export type GatheredKeys = Pick<KvSection, "keys" | "onGpuCount" | "belowCount" | "ends">;

/** One per sender, for one section after another. */
export class SectionBuffer {
  readonly #onGpu = new Uint32Array(SECTION_KEYS_MAX * 2);
  readonly #below = new Uint32Array(SECTION_KEYS_MAX * 2);
  readonly #gone = new Uint32Array(SECTION_KEYS_MAX * 2);
  #onGpuWords = 0;
  #belowWords = 0;
  #goneWords = 0;
  #keysLeft = 0;

  /** Empties it, for as many keys as that, or as a section may have. */
  clear(keysMax: number): void {
    this.#onGpuWords = 0;
    this.#belowWords = 0;
    this.#goneWords = 0;
    this.#keysLeft = Math.min(keysMax, SECTION_KEYS_MAX);
  }

  get hasRoom(): boolean {
    return this.#keysLeft > 0;
  }

  get keyCount(): number {
    return (this.#onGpuWords + this.#belowWords + this.#goneWords) / 2;
  }

  /** There must be room. */
  add(low: number, high: number, holding: Holding): void {
    this.#keysLeft--;
    if (holding === HELD_ON_GPU) {
      this.#onGpu[this.#onGpuWords++] = low;
      this.#onGpu[this.#onGpuWords++] = high;
    } else if (holding === NOT_HELD) {
      this.#gone[this.#goneWords++] = low;
      this.#gone[this.#goneWords++] = high;
    } else {
      this.#below[this.#belowWords++] = low;
      this.#below[this.#belowWords++] = high;
    }
  }

  /**
   * What was gathered, in the order of the wire; a copy. With `endOf`, what content becomes up to the key
   * that stands in two words of an array.
   */
  keys(endOf?: (keys: Uint32Array, at: number) => number): GatheredKeys {
    const keys = this.#ordered();
    if (endOf === undefined) return keys;
    const ends = new Uint16Array((this.#onGpuWords + this.#belowWords) / 2);
    for (let i = 0; i < ends.length; i++) ends[i] = endOf(keys.keys, i * 2);
    return { ...keys, ends };
  }

  #ordered(): Pick<KvSection, "keys" | "onGpuCount" | "belowCount"> {
    const keys = new Uint32Array(this.keyCount * 2);
    keys.set(this.#onGpu.subarray(0, this.#onGpuWords));
    keys.set(this.#below.subarray(0, this.#belowWords), this.#onGpuWords);
    keys.set(this.#gone.subarray(0, this.#goneWords), this.#onGpuWords + this.#belowWords);
    return { keys, onGpuCount: this.#onGpuWords / 2, belowCount: this.#belowWords / 2 };
  }
}
