// Puts the prefiller's count of cached tokens into the decoder's usage. A decoder counts what it pulled as
// cached, so that nearly every prompt token of a split request would be.

import { beginningOfKey, skipSpace } from "../key-search.ts";
import { editMembers, readMember } from "./connectors/json-edits.ts";

const KEY = Buffer.from('"usage"');
const BACKSLASH = 0x5c;
const COLON = 0x3a;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
/** More than any usage object; a longer one is passed on as it is. */
export const HELD_BYTES_MAX = 4 * 1024;
const NOTHING: Buffer = Buffer.alloc(0);
/** As Chat Completions and Responses call it. */
const DETAILS = ["prompt_tokens_details", "input_tokens_details"] as const;

/**
 * A `usage` object with the count in it; undefined if that is nothing new. Where the engine does not say
 * what was cached, only something that was is added.
 */
export function withCachedTokens(usage: Uint8Array, cachedTokens: number): Uint8Array | undefined {
  const told = DETAILS.find((key) => readMember(usage, key) !== undefined);
  if (told === undefined && cachedTokens === 0) return undefined;
  const details = { cached_tokens: String(cachedTokens) };
  return editMembers(usage, { [told ?? DETAILS[0]]: details });
}

/** Does so in a JSON answer that passes by in chunks; holds back at most a usage object. */
export class CachedTokensWriter {
  readonly #cachedTokens: number;
  /** Bytes not sent yet: a key with its value, or what may become one. */
  #held: Buffer = NOTHING;
  /** The last byte before them: whether a quote is escaped depends on it. */
  #before = 0;

  constructor(cachedTokens: number) {
    this.#cachedTokens = cachedTokens;
  }

  /** Takes the next bytes from the engine; gives the bytes for the client, often the same. */
  push(chunk: Buffer): Buffer {
    const bytes = this.#held.byteLength === 0 ? chunk : Buffer.concat([this.#held, chunk]);
    const out: Uint8Array[] = [];
    let sent = 0;
    let from = 0;
    let held = bytes.byteLength;
    for (;;) {
      const key = bytes.indexOf(KEY, from);
      if (key === -1) {
        held = beginningOfKey(KEY, bytes, from);
        break;
      }
      from = key + KEY.byteLength;
      if ((key === 0 ? this.#before : bytes[key - 1]) === BACKSLASH) continue;
      const value = objectAfter(bytes, from);
      if (value === "cut-off") {
        if (bytes.byteLength - key > HELD_BYTES_MAX) continue;
        held = key;
        break;
      }
      if (value === "none") continue;
      from = value.end;
      const usage = withCachedTokens(bytes.subarray(value.start, value.end), this.#cachedTokens);
      if (usage === undefined) continue;
      out.push(bytes.subarray(sent, value.start), usage);
      sent = value.end;
    }
    out.push(bytes.subarray(sent, held));
    if (held > 0) this.#before = bytes[held - 1]!;
    // A copy: the chunk belongs to the socket's pool and may be large.
    this.#held = held === bytes.byteLength ? NOTHING : Buffer.from(bytes.subarray(held));
    return Buffer.concat(out);
  }

  /** The engine has ended; gives what was held back. */
  end(): Buffer {
    const held = this.#held;
    this.#held = NOTHING;
    return held;
  }
}

type Value = { readonly start: number; readonly end: number } | "none" | "cut-off";

/** Finds the object that stands after the key which ends at `at`. */
function objectAfter(bytes: Buffer, at: number): Value {
  const colon = skipSpace(bytes, at);
  if (colon === bytes.byteLength) return "cut-off";
  if (bytes[colon] !== COLON) return "none";
  const start = skipSpace(bytes, colon + 1);
  if (start === bytes.byteLength) return "cut-off";
  if (bytes[start] !== OPEN_BRACE) return "none";
  let depth = 0;
  // No string of a usage object has a brace in it.
  for (let i = start; i < bytes.byteLength; i++) {
    if (bytes[i] === OPEN_BRACE) depth += 1;
    else if (bytes[i] === CLOSE_BRACE && --depth === 0) return { start, end: i + 1 };
  }
  return "cut-off";
}
