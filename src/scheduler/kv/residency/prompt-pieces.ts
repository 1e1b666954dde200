// Finds the pieces of a canonical prompt in the text that a chat template made of them.

import { CONTENT_BLOCK_BYTES } from "../content-keys.ts";

/** Begins each piece of the canonical prompt, before its kind and a colon. */
const BOUNDARY_BYTE = 0xff;
const COLON = 0x3a;
/** A piece with fewer letters may stand by chance where it is not: it is not searched. */
const PIECE_LETTERS_MIN = 12;
/** Where a piece is not found whole: letters before a block's end that are searched instead. */
const WINDOW_LETTERS = 40;
/** How far behind the last stretch found a window may lie. Bounds the time of a search in vain. */
const WINDOW_REACH = 32 * 1024;
/** Windows in vain, one after the other, after which a piece is given up. */
const WINDOW_MISSES_MAX = 8;
/** Pieces that templates put where they like. All others keep their order. */
const UNORDERED_KINDS = new Set(["tools", "documents", "chat_template", "chat_template_kwargs"]);
/** Too short and too common to be searched. */
const SKIPPED_KINDS = new Set(["role"]);

/** Media: engines put tokens of their own where a request has an address. */
const REPLACED_KINDS = new Set(["part"]);

/** A text reduced to its letters and digits: a character a byte, and where each byte stood. */
export interface FoldedText {
  readonly letters: string;
  readonly at: Uint32Array;
}

/** A stretch of the canonical prompt that was found again: offsets into the folded texts. */
export interface FoundStretch {
  readonly from: number;
  readonly to: number;
  readonly renderedFrom: number;
  /** Other tokens stand in its place, and none is settled before it ends. */
  readonly isReplaced?: boolean;
}

/** Letters, digits, and every byte of characters beyond ASCII. */
const IS_LETTER = Uint8Array.from({ length: 256 }, (_, byte) => {
  if (byte >= 0x80) return byte === BOUNDARY_BYTE ? 0 : 1;
  return /[0-9A-Za-z]/u.test(String.fromCharCode(byte)) ? 1 : 0;
});
const CHARS_AT_ONCE = 8_192;

export function foldText(bytes: Uint8Array): FoldedText {
  const at = new Uint32Array(bytes.length);
  const kept = new Uint8Array(bytes.length);
  let count = 0;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i]!;
    // What is none is written over by the next.
    kept[count] = byte;
    at[count] = i;
    count += IS_LETTER[byte]!;
  }
  let letters = "";
  for (let i = 0; i < count; i += CHARS_AT_ONCE) {
    const some = kept.subarray(i, Math.min(count, i + CHARS_AT_ONCE));
    // Six times as fast as with the bytes spread.
    letters += Reflect.apply(String.fromCharCode, null, some);
  }
  return { letters, at: at.subarray(0, count) };
}

/** Index of the first value that is not below `value`, in values that rise. */
export function lowerBound(values: Uint32Array, value: number): number {
  let low = 0;
  let high = values.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (values[middle]! < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

interface Piece {
  readonly kind: string;
  /** Offsets into the folded canonical prompt. */
  readonly from: number;
  readonly to: number;
}

/** Stretches in the order of the canonical prompt; they do not overlap in it. */
export function findPieces(
  canonical: Uint8Array,
  content: FoldedText,
  text: FoldedText,
): FoundStretch[] {
  const found: FoundStretch[] = [];
  let cursor = 0;
  for (const piece of splitPieces(canonical, content)) {
    if (SKIPPED_KINDS.has(piece.kind) || piece.to - piece.from < PIECE_LETTERS_MIN) continue;
    if (REPLACED_KINDS.has(piece.kind)) {
      found.push({ from: piece.from, to: piece.to, renderedFrom: cursor, isReplaced: true });
      continue;
    }
    const isOrdered = !UNORDERED_KINDS.has(piece.kind);
    const letters = content.letters.slice(piece.from, piece.to);
    const renderedFrom = text.letters.indexOf(letters, isOrdered ? cursor : 0);
    const from = found.length;
    if (renderedFrom >= 0) found.push({ from: piece.from, to: piece.to, renderedFrom });
    else findWindows(piece, content, text, { found, cursor: isOrdered ? cursor : 0 });
    const last = found[found.length - 1];
    if (isOrdered && found.length > from && last !== undefined) {
      cursor = last.renderedFrom + last.to - last.from;
    }
  }
  return found;
}

function splitPieces(canonical: Uint8Array, content: FoldedText): Piece[] {
  const pieces: Piece[] = [];
  for (let at = 0; at < canonical.length;) {
    const next = canonical.indexOf(BOUNDARY_BYTE, at + 1);
    const end = next < 0 ? canonical.length : next;
    let textFrom = at;
    let kind = "";
    if (canonical[at] === BOUNDARY_BYTE) {
      textFrom = canonical.indexOf(COLON, at) + 1;
      kind = String.fromCharCode(...canonical.subarray(at + 1, textFrom - 1));
    }
    pieces.push({
      kind,
      from: lowerBound(content.at, textFrom),
      to: lowerBound(content.at, end),
    });
    at = end;
  }
  return pieces;
}

/** Of a piece that a template cut or wrote anew: the ends of blocks around which it did not. */
function findWindows(
  piece: Piece,
  content: FoldedText,
  text: FoldedText,
  search: { readonly found: FoundStretch[]; readonly cursor: number },
): void {
  let cursor = search.cursor;
  let misses = 0;
  const firstByte = content.at[piece.from]!;
  const lastByte = content.at[piece.to - 1]!;
  let end = Math.ceil(firstByte / CONTENT_BLOCK_BYTES) * CONTENT_BLOCK_BYTES;
  let from = piece.from;
  for (; end <= lastByte && misses < WINDOW_MISSES_MAX; end += CONTENT_BLOCK_BYTES) {
    const to = lowerBound(content.at, end);
    const windowFrom = Math.max(from, to - WINDOW_LETTERS);
    if (to - windowFrom < PIECE_LETTERS_MIN) continue;
    const window = content.letters.slice(windowFrom, to);
    const at = text.letters.slice(cursor, cursor + WINDOW_REACH).indexOf(window);
    if (at < 0) {
      misses++;
      continue;
    }
    misses = 0;
    search.found.push({ from: windowFrom, to, renderedFrom: cursor + at });
    cursor += at + window.length;
    from = to;
  }
}
