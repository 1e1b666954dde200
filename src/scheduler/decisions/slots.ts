// Who was in which slot, for a segment that names endpoints by an index of its own.

import { ENDPOINTS_MAX, type Endpoint } from "../model/endpoint-table.ts";

/** Which index each slot's endpoint has in the newest segment. One per ring; 12 kB. */
export class SlotIndex {
  readonly #endpoints: (Endpoint | undefined)[] = Array.from({ length: ENDPOINTS_MAX });
  readonly #indices = new Int32Array(ENDPOINTS_MAX).fill(-1);

  /** -1 if the slot's endpoint has none. */
  indexOf(slot: number, endpoint: Endpoint): number {
    return this.#endpoints[slot] === endpoint ? this.#indices[slot]! : -1;
  }

  /** Returns whose the slot was before, if it was another endpoint's. */
  assign(slot: number, endpoint: Endpoint, index: number): Endpoint | undefined {
    const before = this.#endpoints[slot];
    this.#endpoints[slot] = endpoint;
    this.#indices[slot] = index;
    return before === endpoint ? undefined : before;
  }

  /** Keeps who is where, to notice who is replaced. */
  forgetIndices(): void {
    this.#indices.fill(-1);
  }
}
