// The text of tokens that were never named, from the prompt that they stand in: tokens whose texts are known are
// followed through it, and what is left between them is the others'.
//
//   tokens   … │ the │ quick │   ?   │ jumps │ over │ …
//   prompt     … the quick vixen jumps over …            ?  is " vixen"
//                         └ here all tokens before end
//
// Of several in a row it is not known where each ends: they get equal shares. Where the template wrote, or where
// it wrote the prompt's text anew, nothing is found. None of it is kept: a mistake stays with the prompt.

/** Bytes before a token by which its place is found where tokens could not be followed to it. */
const BEFORE_BYTES = 48;
const BEFORE_BYTES_MIN = 12;
/** Bytes behind it that must be equal, and that must be known. */
const BEHIND_BYTES = 24;
const BEHIND_BYTES_MIN = 6;
/** A longer token is not looked for, and no longer run of them. */
const TOKEN_BYTES_MAX = 64;
const RUN_BYTES_MAX = 256;
/** Runs of one prompt that are looked for: with more of them names are better asked for. */
const RUNS_MAX = 256;

/** The text of the token at a place; undefined where it is not known, empty where it does not matter. */
export type TextAt = (place: number) => Uint8Array | undefined;

/** The texts of all tokens that are not known, by place. Undefined where one of them is not found. */
export function findUnnamed(
  canonical: Uint8Array,
  tokenCount: number,
  textAt: TextAt,
): ReadonlyMap<number, Uint8Array> | undefined {
  const search = new Search(canonical, tokenCount, textAt);
  let runs = 0;
  for (let place = 0; place < tokenCount; place++) {
    if (textAt(place) !== undefined) continue;
    if (++runs > RUNS_MAX) return undefined;
    const end = search.findRun(place);
    if (end === undefined) return undefined;
    place = end - 1;
  }
  return search.found;
}

class Search {
  readonly found = new Map<number, Uint8Array>();
  readonly #prompt: Buffer;
  readonly #tokenCount: number;
  readonly #textAt: TextAt;
  /** The tokens before this place end before this byte. */
  #place = 0;
  #byte = 0;

  constructor({ buffer, byteOffset, byteLength }: Uint8Array, tokenCount: number, textAt: TextAt) {
    this.#prompt = Buffer.from(buffer, byteOffset, byteLength);
    this.#tokenCount = tokenCount;
    this.#textAt = textAt;
  }

  /** Finds the tokens from `first` on. Gives the place behind them. */
  findRun(first: number): number | undefined {
    const start = this.#follow(first);
    if (start === undefined) return undefined;
    const end = this.#endOfRun(first);
    const behind = this.#gather(end, 1, BEHIND_BYTES).subarray(0, BEHIND_BYTES);
    if (behind.length < BEHIND_BYTES_MIN) return undefined;
    const least = end - first;
    const most = Math.min(least * TOKEN_BYTES_MAX, RUN_BYTES_MAX);
    // Each token has a byte at least.
    const near = this.#prompt.subarray(start + least, start + most + behind.length);
    const at = near.indexOf(behind);
    if (at < 0) return undefined;
    const text = this.#prompt.subarray(start, start + least + at);
    this.#place = end;
    this.#byte = start + text.length;
    return this.#shareOut(text, first, end) ? end : undefined;
  }

  /** The byte at which the token at a place begins. */
  #follow(place: number): number | undefined {
    let byte = this.#byte;
    for (let i = this.#place; i < place && byte >= 0; i++) {
      const text = this.#textAt(i)!;
      const isHere = this.#prompt.subarray(byte, byte + text.length).equals(text);
      byte = isHere ? byte + text.length : -1;
    }
    if (byte >= 0 && place > 0) return byte;
    const before = this.#gather(place - 1, -1, BEFORE_BYTES);
    // Some of it may be the template's.
    for (let bytes = BEFORE_BYTES; bytes >= BEFORE_BYTES_MIN; bytes /= 2) {
      const near = before.subarray(-bytes);
      const at = near.length < BEFORE_BYTES_MIN ? -1 : this.#prompt.indexOf(near, this.#byte);
      if (at >= 0) return at + near.length;
    }
    return undefined;
  }

  /** Known tokens belong to a run as long as too little is known behind them. */
  #endOfRun(first: number): number {
    let end = first + 1;
    let behind = 0;
    for (let i = end; i < this.#tokenCount && behind < BEHIND_BYTES_MIN; i++) {
      const text = this.#textAt(i);
      if (text === undefined) end = i + 1;
      behind = text === undefined ? 0 : behind + text.length;
    }
    return end;
  }

  /** The texts of known tokens in one direction, joined in their order: so many bytes or more. */
  #gather(first: number, step: 1 | -1, bytesMin: number): Buffer {
    const texts: Uint8Array[] = [];
    let bytes = 0;
    for (let i = first; i >= 0 && i < this.#tokenCount && bytes < bytesMin; i += step) {
      const text = this.#textAt(i);
      if (text === undefined) break;
      texts.push(text);
      bytes += text.length;
    }
    return Buffer.concat(step > 0 ? texts : texts.toReversed());
  }

  /** Gives the unknown tokens of a run what its known ones leave. False where that is not enough for all. */
  #shareOut(text: Buffer, first: number, end: number): boolean {
    const lengths = Array.from({ length: end - first }, (_, i) => this.#textAt(first + i)?.length);
    let unknown = lengths.filter((length) => length === undefined).length;
    let left = text.length - lengths.reduce<number>((sum, length) => sum + (length ?? 0), 0);
    if (left < unknown) return false;
    let at = 0;
    for (const [i, length] of lengths.entries()) {
      const size = length ?? Math.floor(left / unknown);
      if (length === undefined) {
        this.found.set(first + i, text.subarray(at, at + size));
        left -= size;
        unknown--;
      }
      at += size;
    }
    return true;
  }
}
