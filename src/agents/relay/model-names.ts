// Puts the client's name of a model back where an engine's answer says the engine's own: after
// `"model":`, at any depth, as the first chunk of a stream, each of its chunks or a JSON answer does.
//
// Works on bytes as they pass, whatever the chunks: a place that may go on in the next chunk is held
// back until it is decided, which is never more than HELD_BYTES_MAX. llm-d looks at each chunk by itself
// and misses a name across two. A quoted key cannot occur inside a JSON string, where its quotes would
// be escaped, so text that the model wrote is never touched.

import { beginningOfKey, skipSpace } from "./key-search.ts";

const KEY = Buffer.from('"model"');
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COLON = 0x3a;
/** White space between key, colon and value; engines write none or one. */
const SPACE_BYTES_MAX = 16;
/** A name of 256 characters with each one escaped, and its quotes. */
const VALUE_BYTES_MAX = 6 * 256 + 2;
export const HELD_BYTES_MAX = KEY.byteLength + 2 * SPACE_BYTES_MAX + 1 + VALUE_BYTES_MAX;
const NOTHING: Buffer = Buffer.alloc(0);

/** `start` and `end` of the value's bytes, quotes included. */
type Value = { readonly start: number; readonly end: number } | "none" | "cut-off";

export class ModelNames {
  readonly #engineName: string;
  readonly #clientValue: Buffer;
  /** Bytes not sent yet: a key, or what may become one. */
  #held: Buffer = NOTHING;
  /** The last byte before them: whether a quote is escaped depends on it. */
  #before = 0;

  constructor(engineName: string, clientName: string) {
    this.#engineName = engineName;
    this.#clientValue = Buffer.from(JSON.stringify(clientName));
  }

  /** Takes the next bytes from the engine; gives the bytes for the client, often the same. */
  push(chunk: Buffer): Buffer {
    const bytes = this.#held.byteLength === 0 ? chunk : Buffer.concat([this.#held, chunk]);
    const out: Buffer[] = [];
    let sent = 0;
    let from = 0;
    let held = bytes.byteLength;
    for (;;) {
      const key = bytes.indexOf(KEY, from);
      if (key === -1) {
        held = Math.min(held, beginningOfKey(KEY, bytes, from));
        break;
      }
      from = key + KEY.byteLength;
      if ((key === 0 ? this.#before : bytes[key - 1]) === BACKSLASH) continue;
      const value = valueAfter(bytes, from);
      if (value === "cut-off") {
        held = key;
        break;
      }
      if (value === "none") continue;
      from = value.end;
      if (!this.#isEngineName(bytes.subarray(value.start, value.end))) continue;
      out.push(bytes.subarray(sent, value.start), this.#clientValue);
      sent = value.end;
    }
    out.push(bytes.subarray(sent, held));
    if (held > 0) this.#before = bytes[held - 1]!;
    // A copy: the chunk belongs to the socket's pool and may be large.
    this.#held = held === bytes.byteLength ? NOTHING : Buffer.from(bytes.subarray(held));
    return out.length === 1 ? out[0]! : Buffer.concat(out);
  }

  /** The engine has ended; gives what was held back. */
  end(): Buffer {
    const held = this.#held;
    this.#held = NOTHING;
    return held;
  }

  #isEngineName(value: Buffer): boolean {
    try {
      return JSON.parse(value.toString("utf8")) === this.#engineName;
    } catch {
      // Not JSON: an engine's text is not to be trusted.
      return false;
    }
  }
}

/** Finds the string that stands after the key which ends at `at`. */
function valueAfter(bytes: Buffer, at: number): Value {
  const colon = skipSpace(bytes, at);
  if (colon === bytes.byteLength) return colon - at > SPACE_BYTES_MAX ? "none" : "cut-off";
  if (bytes[colon] !== COLON || colon - at > SPACE_BYTES_MAX) return "none";
  const start = skipSpace(bytes, colon + 1);
  if (start - colon - 1 > SPACE_BYTES_MAX) return "none";
  if (start === bytes.byteLength) return "cut-off";
  if (bytes[start] !== QUOTE) return "none";
  const limit = Math.min(bytes.byteLength, start + VALUE_BYTES_MAX);
  for (let i = start + 1; i < limit; i++) {
    if (bytes[i] === BACKSLASH) i++;
    else if (bytes[i] === QUOTE) return { start, end: i + 1 };
  }
  return bytes.byteLength < start + VALUE_BYTES_MAX ? "cut-off" : "none";
}
