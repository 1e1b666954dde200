// Reads usage and finish reason out of a JSON answer that passes by in chunks, without collecting
// it. A quoted key cannot occur inside a JSON string (its quotes would be escaped), so searching the
// bytes for `"usage"` finds only real keys; the last one that parses counts.

import { parseUsage, UNKNOWN_USAGE, type Usage } from "../protocol/answer-usage.ts";
import { lastFinishReason } from "./finish-reason.ts";

/** Bytes kept from a key on: more than any usage object. */
const CAPTURE_BYTES_MAX = 4 * 1024;
/** Bytes of the previous chunk looked at again, so that a key or value across chunks is found. */
const OVERLAP_BYTES = 128;
const USAGE_KEY = Buffer.from('"usage"');

export class JsonMeter {
  #overlap: Buffer = Buffer.alloc(0);
  /** Bytes from a usage key on, while they may still be incomplete. */
  #capture: Buffer | undefined;
  #usage: Usage = UNKNOWN_USAGE;
  #finishReason: string | null = null;

  get usage(): Usage {
    return this.#usage;
  }

  get finishReason(): string | null {
    return this.#finishReason;
  }

  push(chunk: Buffer): void {
    const isFirst = this.#overlap.byteLength === 0;
    const bytes = isFirst ? chunk : Buffer.concat([this.#overlap, chunk]);
    this.#finishReason = lastFinishReason(bytes) ?? this.#finishReason;
    let from = 0;
    if (this.#capture !== undefined)
      this.#capture = this.#read(Buffer.concat([this.#capture, chunk]));
    for (let at = bytes.indexOf(USAGE_KEY); at !== -1; at = bytes.indexOf(USAGE_KEY, from)) {
      from = at + USAGE_KEY.byteLength;
      // A key that lies in the overlap alone was read with the chunk it came in.
      if (from <= this.#overlap.byteLength) continue;
      this.#capture = this.#read(bytes.subarray(at));
    }
    this.#overlap = Buffer.from(bytes.subarray(-OVERLAP_BYTES));
  }

  /** Reads the value of the key that `capture` begins with; gives it back if it is not all there. */
  #read(capture: Buffer): Buffer | undefined {
    const bytes = capture.subarray(0, CAPTURE_BYTES_MAX);
    const object = /^"usage"\s*:\s*(\{[^]*)/.exec(bytes.toString("utf8"))?.[1];
    const end = object === undefined ? -1 : objectEnd(object);
    if (end !== -1) {
      this.#usage = parseUsage(object!.slice(0, end)) ?? this.#usage;
      return undefined;
    }
    const isHopeless =
      bytes.byteLength === CAPTURE_BYTES_MAX ||
      /^"usage"\s*:\s*[^\s{]/.test(bytes.toString("latin1"));
    return isHopeless ? undefined : Buffer.from(bytes);
  }
}

/** One past the brace that closes the object `text` begins with; -1 if it is cut off. */
function objectEnd(text: string): number {
  let depth = 0;
  for (let at = 0; at < text.length; at++) {
    if (text[at] === "{") depth += 1;
    else if (text[at] === "}" && --depth === 0) return at + 1;
  }
  return -1;
}
