// What was learned and is still to be told, to collectors that come and begin anew: messages in the order in
// which they were learned, numbered. Each collector's feed goes through them by number.
//
// A conversation that went on holds all that its beginning does, so the beginning's message goes. What was
// learned the longest ago goes for the bytes.

import { keyHex, type KeyWords } from "../../protocol/content-header.ts";

/** Some 2,000 prompts of 10,000 tokens. */
export const STORE_BYTES_MAX = 16 * 1024 * 1024;

export interface StoredMessage {
  readonly number: number;
  readonly lastKey: string;
  readonly bytes: Buffer;
}

interface MessageRoom {
  readonly countMax: number;
  readonly bytesMax: number;
}

export class LearnedStore {
  readonly #bytesMax: number;
  readonly #messages = new Map<number, StoredMessage>();
  readonly #numbers = new Map<string, number>();
  #first = 1;
  #last = 0;
  #bytes = 0;

  constructor(bytesMax: number = STORE_BYTES_MAX) {
    this.#bytesMax = bytesMax;
  }

  get byteLength(): number {
    return this.#bytes;
  }

  get size(): number {
    return this.#messages.size;
  }

  /** The number of what was learned last; 0 before anything was. */
  get last(): number {
    return this.#last;
  }

  /** `contentKeys` are the message's, two words each. */
  add(contentKeys: Uint32Array, bytes: Buffer): void {
    let lastKey = "";
    for (let i = 0; i < contentKeys.length; i += 2) {
      const key: KeyWords = { low: contentKeys[i]!, high: contentKeys[i + 1]! };
      lastKey = keyHex(key);
      const known = this.#numbers.get(lastKey);
      if (known !== undefined) this.#remove(known);
    }
    const number = ++this.#last;
    this.#messages.set(number, { number, lastKey, bytes });
    this.#numbers.set(lastKey, number);
    this.#bytes += bytes.byteLength;
    while (this.#bytes > this.#bytesMax && this.#first < number) this.#remove(this.#first++);
  }

  /** The first message with a number above this one. */
  after(number: number): StoredMessage | undefined {
    while (this.#first <= this.#last && !this.#messages.has(this.#first)) this.#first++;
    for (let next = Math.max(number + 1, this.#first); next <= this.#last; next++) {
      const message = this.#messages.get(next);
      if (message !== undefined) return message;
    }
    return undefined;
  }

  /** The first messages with numbers above this one: as many as fit, and one in any case. */
  someAfter(number: number, { countMax, bytesMax }: MessageRoom): StoredMessage[] {
    const some: StoredMessage[] = [];
    let bytes = 0;
    for (let last = number; some.length < countMax;) {
      const next = this.after(last);
      if (next === undefined) break;
      bytes += next.bytes.byteLength;
      if (some.length > 0 && bytes > bytesMax) break;
      some.push(next);
      last = next.number;
    }
    return some;
  }

  #remove(number: number): void {
    const message = this.#messages.get(number);
    if (message === undefined) return;
    this.#messages.delete(number);
    this.#numbers.delete(message.lastKey);
    this.#bytes -= message.bytes.byteLength;
  }
}
