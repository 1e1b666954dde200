// Which tokens a prompt's content blocks became, read from the text the engine rendered.
//
//   canonical   tools … │ role │ text of system │ role │ text of user …      content blocks of 256 bytes
//   rendered    <|im_start|>system⏎ text … tools … <|im_end|>⏎<|im_start|>user⏎ text …
//   tokens      └┴──┴─┴───┴──┘ ends in bytes of the rendered text
//
// Templates add markers, trim, put tools elsewhere and write JSON anew, but keep what people wrote. So
// the pieces of the canonical prompt are searched in the rendered text, comparing letters and digits only,
// which leaves out whitespace, quotes and escapes. What content blocks 1 to i determine ends where the
// first letter of later content stands: with tools rendered behind the system's text, blocks of tools
// alone determine nothing but the text's beginning. docs/decisions/029-content-residency.md has the error.

import { CONTENT_BLOCK_BYTES, CONTENT_KEYS_MAX } from "../content-keys.ts";
import {
  type FoldedText,
  type FoundStretch,
  findPieces,
  foldText,
  lowerBound,
} from "./prompt-pieces.ts";

/** A prompt as an engine saw it. */
export interface RenderedPrompt {
  /** UTF-8 of the whole prompt: the bytes of its tokens, joined. */
  readonly text: Uint8Array;
  /** By token: how many bytes of the text end with it. */
  readonly tokenEnds: Uint32Array;
}

export interface ContentAlignment {
  /**
   * By content block: how many tokens, from the first, are the same in every prompt that shares this
   * block and all before it. Never falls.
   */
  readonly tokenCounts: Uint32Array;
  /** Blocks whose end was found in the text. Others were put between their neighbours. */
  readonly foundBlocks: number;
}

/** Where content blocks end in the rendered text, in bytes. Equal bounds: it is known. */
interface Bounds {
  readonly low: Uint32Array;
  readonly high: Uint32Array;
}

/** `canonical` is the canonical prompt, the bytes that content keys are made of. */
export function alignContent(canonical: Uint8Array, rendered: RenderedPrompt): ContentAlignment {
  const blocks = Math.min(CONTENT_KEYS_MAX, Math.floor(canonical.length / CONTENT_BLOCK_BYTES));
  const content = foldText(canonical);
  const text = foldText(rendered.text);
  const bounds: Bounds = { low: new Uint32Array(blocks), high: new Uint32Array(blocks) };
  const stretches = findPieces(canonical, content, text);
  const foundBlocks = bindEnds(stretches, content, text, bounds);
  const ends = chooseEnds(bounds, canonical.length / CONTENT_BLOCK_BYTES);
  const tokenCounts = new Uint32Array(blocks);
  let count = 0;
  for (let i = 0; i < blocks; i++) {
    count = Math.max(count, settledTokens(rendered, ends[i]!));
    tokenCounts[i] = count;
  }
  return { tokenCounts, foundBlocks };
}

/**
 * Fills the bounds: nothing behind the first letter of later content is settled, and everything is up
 * to the last letter of earlier content before that. Gives how many ends are known.
 */
function bindEnds(
  stretches: readonly FoundStretch[],
  content: FoldedText,
  text: FoldedText,
  { low, high }: Bounds,
): number {
  const reached: number[] = [];
  for (const { from, to, renderedFrom, isReplaced } of stretches) {
    const end = isReplaced ? renderedFrom : renderedFrom + to - from;
    reached.push(Math.max(end, reached.at(-1) ?? 0));
  }
  let next = stretches.length - 1;
  let laterFrom = text.at.length;
  let known = 0;
  for (let i = low.length - 1; i >= 0; i--) {
    const end = lowerBound(content.at, (i + 1) * CONTENT_BLOCK_BYTES);
    while (next >= 0 && stretches[next]!.from >= end) {
      laterFrom = Math.min(laterFrom, stretches[next]!.renderedFrom);
      next--;
    }
    const stretch = stretches[next];
    const isKnown = stretch !== undefined && end <= stretch.to;
    if (isKnown) {
      known++;
      const letters = stretch.isReplaced ? 0 : end - stretch.from;
      low[i] = bytesUpTo(text, Math.min(stretch.renderedFrom + letters, laterFrom));
      high[i] = low[i]!;
    } else {
      low[i] = bytesUpTo(text, Math.min(reached[next] ?? 0, laterFrom));
      high[i] = bytesUpTo(text, laterFrom);
    }
  }
  return known;
}

function bytesUpTo(text: FoldedText, letters: number): number {
  return letters === 0 ? 0 : text.at[letters - 1]! + 1;
}

/** Unknown ends are put between their bounds, evenly: `blocks` is what the prompt has, with its rest. */
function chooseEnds({ low, high }: Bounds, blocks: number): Uint32Array {
  const ends = new Uint32Array(low.length);
  for (let i = 0; i < low.length;) {
    let to = i + 1;
    while (to < low.length && low[to] === low[i] && high[to] === high[i]) to++;
    const steps = to === low.length ? Math.max(blocks - i, 1) : to - i + 1;
    for (let k = i; k < to; k++) {
      ends[k] = Math.floor(low[i]! + ((high[i]! - low[i]!) * (k - i + 1)) / steps);
    }
    i = to;
  }
  return ends;
}

/**
 * Tokens that end within the first `bytes` bytes, less the last: what follows may join it, in a word
 * or in a character of several bytes that the block's end cuts.
 */
function settledTokens(rendered: RenderedPrompt, bytes: number): number {
  return Math.max(0, lowerBound(rendered.tokenEnds, bytes + 1) - 1);
}
