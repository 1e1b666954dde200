// The canonical prompt as bytes: UTF-8, and a byte that UTF-8 never has where a boundary stands.

import type { ContentKeys } from "../content-keys.ts";
import { BOUNDARY } from "./canonical-prompt.ts";

/** In the place of a boundary. */
export const BOUNDARY_BYTE = 0xff;
const BOUNDARY_UNIT = BOUNDARY.charCodeAt(0);
/** Bytes encoded at a time; a code unit takes three at most. */
const SCRATCH_BYTES = 48 * 1024;
const UNITS_AT_ONCE = SCRATCH_BYTES / 3;
/** Up to this length a loop is faster than a call of the encoder. */
const SHORT_UNITS_MAX = 48;

/** Writes a text's UTF-8 at the start of `bytes`, which has room for all of it. Gives the bytes written. */
export type EncodeInto = (text: string, bytes: Uint8Array) => number;

/** Feeds a piece of the canonical prompt to keys. */
export type PromptFeed = (keys: Pick<ContentKeys, "update">, piece: string) => void;

/** `encodeInto` is the platform's encoder. */
export function createPromptFeed(encodeInto: EncodeInto): PromptFeed {
  // Shared by all prompts: nothing is left in it when a call returns.
  const scratch = new Uint8Array(SCRATCH_BYTES);
  const afterBoundary = scratch.subarray(1);
  const encode = (text: string, bytes: Uint8Array): number => {
    if (text.length > SHORT_UNITS_MAX) return encodeInto(text, bytes);
    for (let at = 0; at < text.length; at++) {
      const unit = text.charCodeAt(at);
      if (unit > 0x7f) return encodeInto(text, bytes);
      bytes[at] = unit;
    }
    return text.length;
  };
  return (keys, piece) => {
    if (beginsWithBoundary(piece)) {
      scratch[0] = BOUNDARY_BYTE;
      keys.update(scratch.subarray(0, 1 + encode(piece.slice(1), afterBoundary)));
      return;
    }
    for (let at = 0; at < piece.length;) {
      let end = Math.min(piece.length, at + UNITS_AT_ONCE);
      // A surrogate pair is not cut.
      if (end < piece.length && isLeadSurrogate(piece.charCodeAt(end - 1))) end--;
      const part = at === 0 && end === piece.length ? piece : piece.slice(at, end);
      keys.update(scratch.subarray(0, encode(part, scratch)));
      at = end;
    }
  };
}

/** The same unit also begins characters, and then a trail surrogate follows it. */
function beginsWithBoundary(piece: string): boolean {
  return piece.charCodeAt(0) === BOUNDARY_UNIT && (piece.charCodeAt(1) & 0xfc00) !== 0xdc00;
}

function isLeadSurrogate(unit: number): boolean {
  return (unit & 0xfc00) === 0xd800;
}
