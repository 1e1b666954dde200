// Reads MessagePack in place: the caller asks for what it expects, and nothing is allocated before the
// bytes that justify it were seen.
//
// The library at hand allocates an array by its announced length (300 bytes of nested headers took
// 1 GiB) and gives 64-bit integers as BigInt; docs/decisions/028-kv-event-decoder.md has the figures.
// It is the oracle of this file's tests.

/** The bytes are not what was expected. `message` names the place and never repeats content. */
export class MalformedError extends Error {}

/** The families of values, as far as callers tell them apart. */
export type WireKind =
  | "nil"
  | "boolean"
  | "integer"
  | "float"
  | "text"
  | "bytes"
  | "array"
  | "map"
  | "extension";

/** A text may begin with U+FEFF: it is no mark of an order of bytes here. */
const TEXT = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const WORD = 0x1_0000_0000;
/** Marks heads that a length or elements follow, and the one that is never used. */
const VARIABLE = 255;
/** Bytes that follow each head of a value without a length. */
const SCALAR_BYTES = Uint8Array.from({ length: 256 }, (_, head) => scalarBytes(head));

/** A position in one message. Every read moves it behind the value; after a throw it is undefined. */
export class MsgpackCursor {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get position(): number {
    return this.#at;
  }

  /** Goes to a position that `position` gave before. */
  seek(position: number): void {
    this.#at = position;
  }

  get isAtEnd(): boolean {
    return this.#at === this.#bytes.length;
  }

  /** What the next value is. */
  peek(): WireKind {
    if (this.#at >= this.#bytes.length) throw this.#truncated();
    return kindOf(this.#bytes[this.#at]!);
  }

  /** Passes over a nil. False, and nothing read, if the next value is another. */
  skipNil(): boolean {
    if (this.#bytes[this.#at] !== 0xc0) return false;
    this.#at++;
    return true;
  }

  /** Elements of the array that begins here. At most `max`, and never more than bytes are left. */
  readArrayLength(max: number): number {
    const head = this.#byte();
    let length: number;
    if (head >= 0x90 && head <= 0x9f) length = head & 0x0f;
    else if (head === 0xdc) length = this.#uint(2);
    else if (head === 0xdd) length = this.#uint(4);
    else throw this.#unexpected("an array");
    return this.#bounded(length, max, length);
  }

  /** Pairs of the map that begins here. */
  readMapLength(max: number): number {
    const head = this.#byte();
    let length: number;
    if (head >= 0x80 && head <= 0x8f) length = head & 0x0f;
    else if (head === 0xde) length = this.#uint(2);
    else if (head === 0xdf) length = this.#uint(4);
    else throw this.#unexpected("a map");
    return this.#bounded(length, max, length * 2);
  }

  /** An integer of any width that a double holds exactly. */
  readInteger(): number {
    const head = this.#byte();
    if (head <= 0x7f) return head;
    if (head >= 0xe0) return head - 0x100;
    if (head === 0xcc) return this.#uint(1);
    if (head === 0xcd) return this.#uint(2);
    if (head === 0xce) return this.#uint(4);
    if (head === 0xd0) return (this.#uint(1) << 24) >> 24;
    if (head === 0xd1) return (this.#uint(2) << 16) >> 16;
    if (head === 0xd2) return this.#uint(4) | 0;
    if (head !== 0xcf && head !== 0xd3) throw this.#unexpected("an integer");
    const high = head === 0xd3 ? this.#uint(4) | 0 : this.#uint(4);
    const value = high * WORD + this.#uint(4);
    if (!Number.isSafeInteger(value)) throw this.#unexpected("an integer below 2^53");
    return value;
  }

  /** The low 64 bits of an integer, negative ones in two's complement: `out[at]` low, then high. */
  readWords(out: Uint32Array, at: number): void {
    const head = this.#bytes[this.#at];
    if (head === 0xcf || head === 0xd3) {
      this.#at++;
      out[at + 1] = this.#uint(4);
      out[at] = this.#uint(4);
      return;
    }
    // No other form is wider than 33 bits with its sign.
    const value = this.readInteger();
    out[at] = value;
    out[at + 1] = value < 0 ? 0xffffffff : 0;
  }

  /** A number with a fraction, as 64 bits; undefined where anything else stands, which is passed over. */
  readDoubleOrSkip(): number | undefined {
    const at = this.#at;
    this.skip();
    return this.#bytes[at] === 0xcb ? this.#view.getFloat64(at + 1) : undefined;
  }

  /** A text of valid UTF-8. `charsMax` bounds its bytes at the widest. */
  readText(charsMax: number): string {
    const bytes = this.#slice(this.#textLength(), charsMax * 3);
    let text: string;
    try {
      text = TEXT.decode(bytes);
    } catch {
      throw this.#unexpected("valid UTF-8");
    }
    if (text.length > charsMax) throw this.#unexpected(`a text of at most ${charsMax} characters`);
    return text;
  }

  /** A view of the message, valid as long as the message is. */
  readBytes(max: number): Uint8Array {
    const head = this.#byte();
    if (head < 0xc4 || head > 0xc6) throw this.#unexpected("bytes");
    return this.#slice(this.#uint(1 << (head - 0xc4)), max);
  }

  /** Fills `out` with integers in [0, 2^32). */
  readUint32s(out: Uint32Array): void {
    const bytes = this.#bytes;
    let at = this.#at;
    // Hot path: three quarters of all bytes are token ids. A head at the end reads as no such head.
    for (let i = 0; i < out.length; i++) {
      const head = bytes[at];
      if (head === 0xcd && at + 3 <= bytes.length) {
        out[i] = (bytes[at + 1]! << 8) | bytes[at + 2]!;
        at += 3;
      } else if (head === 0xce && at + 5 <= bytes.length) {
        out[i] = this.#view.getUint32(at + 1);
        at += 5;
      } else {
        this.#at = at;
        const value = this.readInteger();
        if (value < 0 || value >= WORD) throw this.#unexpected("an integer of 32 bits");
        out[i] = value;
        at = this.#at;
      }
    }
    this.#at = at;
  }

  /** Passes over one value, whatever it contains, without recursion and in linear time. */
  skip(): void {
    const bytes = this.#bytes;
    let at = this.#at;
    // Hot path: every message is walked once before anything in it is believed.
    for (let left = 1; left > 0; left--) {
      if (at >= bytes.length) throw this.#truncated();
      const head = bytes[at++]!;
      const size = SCALAR_BYTES[head]!;
      if (size !== VARIABLE) {
        at += size;
        continue;
      }
      this.#at = at;
      left += this.#skipVariable(head);
      at = this.#at;
    }
    this.#at = at;
    if (at > bytes.length) throw this.#truncated();
  }

  /** Passes over the rest of a value that has a length; gives the number of values inside it. */
  #skipVariable(head: number): number {
    if (head >= 0x80 && head <= 0x8f) return (head & 0x0f) * 2;
    if (head >= 0x90 && head <= 0x9f) return head & 0x0f;
    if (head >= 0xc4 && head <= 0xc6) this.#pass(this.#uint(1 << (head - 0xc4)));
    // The type of an extension stands before its bytes.
    else if (head >= 0xc7 && head <= 0xc9) this.#pass(this.#uint(1 << (head - 0xc7)) + 1);
    else if (head >= 0xd9 && head <= 0xdb) this.#pass(this.#uint(1 << (head - 0xd9)));
    else if (head === 0xdc || head === 0xdd) return this.#uint(2 << (head - 0xdc));
    else if (head === 0xde || head === 0xdf) return this.#uint(2 << (head - 0xde)) * 2;
    else throw this.#unexpected("a MessagePack value");
    return 0;
  }

  #textLength(): number {
    const head = this.#byte();
    if (head >= 0xa0 && head <= 0xbf) return head & 0x1f;
    if (head >= 0xd9 && head <= 0xdb) return this.#uint(1 << (head - 0xd9));
    throw this.#unexpected("a text");
  }

  #bounded(length: number, max: number, leastBytes: number): number {
    if (length > max) throw this.#unexpected(`at most ${max} elements`);
    if (leastBytes > this.#bytes.length - this.#at) throw this.#truncated();
    return length;
  }

  #slice(length: number, max: number): Uint8Array {
    if (length > max) throw this.#unexpected(`at most ${max} bytes`);
    const from = this.#at;
    this.#pass(length);
    return this.#bytes.subarray(from, this.#at);
  }

  #pass(length: number): void {
    if (length > this.#bytes.length - this.#at) throw this.#truncated();
    this.#at += length;
  }

  #byte(): number {
    if (this.#at >= this.#bytes.length) throw this.#truncated();
    return this.#bytes[this.#at++]!;
  }

  #uint(width: number): number {
    const from = this.#at;
    this.#pass(width);
    if (width === 1) return this.#bytes[from]!;
    return width === 2 ? this.#view.getUint16(from) : this.#view.getUint32(from);
  }

  #unexpected(what: string): MalformedError {
    return new MalformedError(`byte ${this.#at}: expected ${what}`);
  }

  #truncated(): MalformedError {
    return new MalformedError(`byte ${this.#at}: the message ends too early`);
  }
}

function kindOf(head: number): WireKind {
  if (head <= 0x7f || head >= 0xe0) return "integer";
  if (head <= 0x8f || head === 0xde || head === 0xdf) return "map";
  if (head <= 0x9f || head === 0xdc || head === 0xdd) return "array";
  if (head <= 0xbf || (head >= 0xd9 && head <= 0xdb)) return "text";
  if (head === 0xc0) return "nil";
  if (head === 0xc2 || head === 0xc3) return "boolean";
  if (head >= 0xc4 && head <= 0xc6) return "bytes";
  if (head === 0xca || head === 0xcb) return "float";
  if (head >= 0xcc && head <= 0xd3) return "integer";
  return "extension"; // 0xc1, which is never used, is refused by every read
}

function scalarBytes(head: number): number {
  if (head <= 0x7f || head >= 0xe0) return 0;
  if (head >= 0xa0 && head <= 0xbf) return head & 0x1f;
  if (head === 0xc0 || head === 0xc2 || head === 0xc3) return 0;
  if (head === 0xca || head === 0xcb) return 4 << (head - 0xca);
  if (head >= 0xcc && head <= 0xcf) return 1 << (head - 0xcc);
  if (head >= 0xd0 && head <= 0xd3) return 1 << (head - 0xd0);
  if (head >= 0xd4 && head <= 0xd8) return (1 << (head - 0xd4)) + 1;
  return VARIABLE;
}
