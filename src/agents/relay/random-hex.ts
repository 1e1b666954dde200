// Random ids in hex, from bytes that are drawn many at a time: a draw costs as much as the ids of a hundred
// requests.

import { randomFillSync } from "node:crypto";

const BYTES = 4_096;

export class RandomHex {
  readonly #bytes = Buffer.allocUnsafeSlow(BYTES);
  #used = BYTES;

  /** `count` bytes that were given to nobody else, in lower-case hex. At most as many as are drawn at once. */
  take(count: number): string {
    if (this.#used + count > BYTES) {
      randomFillSync(this.#bytes);
      this.#used = 0;
    }
    this.#used += count;
    return this.#bytes.toString("hex", this.#used - count, this.#used);
  }
}
