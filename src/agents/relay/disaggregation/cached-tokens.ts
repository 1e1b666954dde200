// Puts the prefiller's count of cached tokens into the decoder's usage. A decoder counts what it pulled as
// cached, so that nearly every prompt token of a split request would be.

import { skipSpace } from "../key-search.ts";
import type { StagedApi } from "./connector.ts";
import { editMembers, parseJson, readMember, type MemberEdits } from "./connectors/json-edits.ts";

const KEY = Buffer.from('"usage"');
const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_BRACKET = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
/** More than any usage object; a longer one is passed on as it is. */
export const HELD_BYTES_MAX = 4 * 1024;
const NOTHING: Buffer = Buffer.alloc(0);

/** What a prefiller found cached, and the API whose name for that the answer has. */
export interface CachedTokens {
  readonly api: StagedApi;
  readonly count: number;
}

/**
 * A `usage` object with the count in it; undefined if that is nothing new. Where the engine does not say
 * what was cached, only something that was is added.
 */
export function withCachedTokens(usage: Uint8Array, cached: CachedTokens): Uint8Array | undefined {
  const edits = editsOf(usage, cached);
  return edits === undefined ? undefined : editMembers(usage, edits);
}

function editsOf(usage: Uint8Array, { api, count }: CachedTokens): MemberEdits | undefined {
  if (api === "messages") return messagesEdits(usage, count);
  const key = api === "responses" ? "input_tokens_details" : "prompt_tokens_details";
  if (count === 0 && readMember(usage, key) === undefined) return undefined;
  return { [key]: { cached_tokens: String(count) } };
}

/** Its input is what was not cached: both together stay what they were. */
function messagesEdits(usage: Uint8Array, count: number): MemberEdits | undefined {
  const tokens = (key: string) => {
    const value = readMember(usage, key);
    return value === undefined ? undefined : parseJson(value);
  };
  const input = tokens("input_tokens");
  const read = tokens("cache_read_input_tokens");
  // The last event of a stream may have only the output.
  if (typeof input !== "number" || (read === undefined && count === 0)) return undefined;
  const prompt = input + (typeof read === "number" ? read : 0);
  return {
    input_tokens: String(Math.max(0, prompt - count)),
    cache_read_input_tokens: String(count),
  };
}

/**
 * Does so in a JSON answer that passes by in chunks, in its own `usage` only: deeper ones may be of a client's
 * making, such as a tool's parameters that the answer repeats. Holds back at most a usage object.
 */
export class CachedTokensWriter {
  readonly #cached: CachedTokens;
  /** Bytes not sent yet: a key with its value, or what may become one. */
  #held: Buffer = NOTHING;
  /** Of brackets before `#held`, in which only the place of a key can be. */
  #depth = 0;
  #isInString = false;
  #isEscaped = false;
  /** At a place where a key of the answer itself may begin. */
  #isAtKey = false;

  constructor(cached: CachedTokens) {
    this.#cached = cached;
  }

  /** Takes the next bytes from the engine; gives the bytes for the client, often the same. */
  push(chunk: Buffer): Buffer {
    const bytes = this.#held.byteLength === 0 ? chunk : Buffer.concat([this.#held, chunk]);
    const out: Uint8Array[] = [];
    let sent = 0;
    let at = 0;
    while (at < bytes.byteLength) {
      const value = this.#isKeyAt(bytes, at) ? usageAt(bytes, at) : "none";
      if (value === "cut-off" && bytes.byteLength - at <= HELD_BYTES_MAX) break;
      if (typeof value === "string") {
        this.#step(bytes[at]!);
        at += 1;
        continue;
      }
      const usage = withCachedTokens(bytes.subarray(value.start, value.end), this.#cached);
      if (usage !== undefined) {
        out.push(bytes.subarray(sent, value.start), usage);
        sent = value.end;
      }
      this.#isAtKey = false;
      at = value.end;
    }
    out.push(bytes.subarray(sent, at));
    // A copy: the chunk belongs to the socket's pool and may be large.
    this.#held = at === bytes.byteLength ? NOTHING : Buffer.from(bytes.subarray(at));
    return Buffer.concat(out);
  }

  /** The engine has ended; gives what was held back. */
  end(): Buffer {
    const held = this.#held;
    this.#held = NOTHING;
    return held;
  }

  #isKeyAt(bytes: Buffer, at: number): boolean {
    return this.#isAtKey && !this.#isInString && bytes[at] === QUOTE;
  }

  #step(byte: number): void {
    if (this.#isInString) {
      this.#isInString = byte !== QUOTE || this.#isEscaped;
      this.#isEscaped = byte === BACKSLASH && !this.#isEscaped;
      return;
    }
    if (byte === QUOTE) {
      this.#isInString = true;
      this.#isAtKey = false;
    } else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) {
      this.#depth += 1;
      this.#isAtKey = this.#depth === 1;
    } else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) {
      this.#depth -= 1;
    } else if (byte === COMMA) {
      this.#isAtKey = this.#depth === 1;
    }
  }
}

type Value = { readonly start: number; readonly end: number } | "none" | "cut-off";

/** Finds the object that stands after the key `usage`, if that begins at `at`. */
function usageAt(bytes: Buffer, at: number): Value {
  const begun = bytes.subarray(at, at + KEY.byteLength);
  if (!KEY.subarray(0, begun.byteLength).equals(begun)) return "none";
  if (begun.byteLength < KEY.byteLength) return "cut-off";
  const colon = skipSpace(bytes, at + KEY.byteLength);
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
