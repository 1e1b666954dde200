// Keys of a prompt's tokens, as a request carries them: one for every 64 tokens.
//
//   engine blocks   │ 16 │ 16 │ 16 │ 16 │ 16 │ 16 │ …      their keys: k16 k32 k48 k64 k80 …
//   the request's                       k64                 and k128 …
//
// A key names all tokens before it, so every fourth says as much as all four; and whatever counts blocks in
// a decision counts 64 tokens for each, as with content keys. What is lost is less than a block.

import { CONTENT_BLOCK_TOKENS, CONTENT_KEYS_MAX } from "../../scheduler/kv/content-keys.ts";
import type { KvExtraKey } from "../../scheduler/kv/residency/kv-event.ts";
import { tokenBlockKeys } from "../../scheduler/kv/residency/token-keys.ts";

/** Tokens that have keys; what is longer is known by its beginning. */
export const KEYED_TOKENS_MAX = CONTENT_KEYS_MAX * CONTENT_BLOCK_TOKENS;

/** Something in a prompt that is not text: its tokens are placeholders, and do not tell what it is. */
export interface PromptMedia {
  readonly identifier: string;
  /** Its first token. */
  readonly offset: number;
  /** Tokens. */
  readonly length: number;
}

/** What engines hash of a prompt. */
export interface HashedPrompt {
  readonly tokens: Uint32Array;
  /** In order of their offsets. */
  readonly media: readonly PromptMedia[];
  /** The LoRA adapter's name; null for the base model. */
  readonly adapter: string | null;
  /** The `cache_salt` that the engine gets. */
  readonly salt: string | undefined;
  /** Tokens of an engine's block; divides 64. */
  readonly blockSizeTokens: number;
}

/** Two words a key, for every 64 tokens. */
export function promptTokenKeys(prompt: HashedPrompt): Uint32Array {
  const { adapter, blockSizeTokens: blockSize } = prompt;
  const tokens = prompt.tokens.subarray(0, KEYED_TOKENS_MAX);
  const keys = tokenBlockKeys({ adapter, tokens, blockSize, extraKeys: extraKeys(prompt) });
  const stride = CONTENT_BLOCK_TOKENS / blockSize;
  const picked = new Uint32Array(2 * Math.floor(keys.length / 2 / stride));
  for (let i = 0; i * 2 < picked.length; i++) {
    const from = ((i + 1) * stride - 1) * 2;
    picked[i * 2] = keys[from]!;
    picked[i * 2 + 1] = keys[from + 1]!;
  }
  return picked;
}

/** By block and in the engines' order: media that reach into it, then the salt in the first. */
function extraKeys({ media, salt, blockSizeTokens }: HashedPrompt): KvExtraKey[][] {
  const extras: KvExtraKey[][] = [];
  for (const { identifier, offset, length } of media) {
    const last = Math.floor((Math.min(offset + length, KEYED_TOKENS_MAX) - 1) / blockSizeTokens);
    for (let block = Math.floor(offset / blockSizeTokens); block <= last; block++) {
      const relative = offset - block * blockSizeTokens;
      (extras[block] ??= []).push({ kind: "media", identifier, offset: relative });
    }
  }
  if (salt !== undefined) (extras[0] ??= []).push({ kind: "text", text: salt });
  return extras;
}
