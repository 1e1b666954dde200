// A tokenizer without a vocabulary: words and punctuation with the blanks that follow them, each
// named by its FNV-1a-32. Token counts are close enough to a real one's to feel like an engine.
//
// Source: llm-d-inference-sim pkg/tokenizer/tokenizer.go. There, text that matches nothing is
// skipped, so that prompts in most scripts have no tokens and all look alike to the KV cache. Here
// each such character is a token of its own.

import { fnv1a32 } from "./fnv.ts";

const PIECE = /(?:[{}:,\-.?!;@#$%^&*()+_~/\\><[\]="']|[A-Za-z0-9_]+|[^\t\n\f\r ])[\t\n\f\r ]*/gu;

/** One token: its id, and the text it stands for. */
export interface Token {
  readonly id: number;
  readonly text: string;
}

/**
 * Splits text into tokens. Blanks before the first piece belong to no token, so the texts of the
 * tokens joined are the text without them.
 */
export function tokenize(text: string): Token[] {
  const tokens: Token[] = [];
  for (const [piece] of text.matchAll(PIECE)) tokens.push({ id: fnv1a32(piece), text: piece });
  return tokens;
}

/** The ids alone, as the engine keeps them. */
export function tokenIds(tokens: readonly Token[]): Uint32Array {
  return Uint32Array.from(tokens, (token) => token.id);
}
