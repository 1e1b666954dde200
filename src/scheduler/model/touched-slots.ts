// Slots whose load has changed since somebody looked, each once.

export class TouchedSlots {
  readonly #isTouched: Uint8Array;
  readonly #slots: Int32Array;
  #count = 0;

  constructor(slotsMax: number) {
    this.#isTouched = new Uint8Array(slotsMax);
    this.#slots = new Int32Array(slotsMax);
  }

  // Hot path: each dispatch and each end.
  add(slot: number): void {
    if (this.#isTouched[slot] === 1) return;
    this.#isTouched[slot] = 1;
    this.#slots[this.#count++] = slot;
  }

  /** Takes them out. */
  take(): Int32Array {
    const slots = this.#slots.slice(0, this.#count);
    for (const slot of slots) this.#isTouched[slot] = 0;
    this.#count = 0;
    return slots;
  }
}
