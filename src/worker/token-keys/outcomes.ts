// What became of a prompt that was to be tokenized. Closed sets; metric labels.

import type { PromptMedia } from "./prompt-keys.ts";

/** Why a request goes on without keys. */
export type UnkeyedReason =
  /** Past the bound on what is tokenized. */
  | "too-long"
  /** There was no rendering in time. */
  | "late"
  /** Nobody could be reached, or what came was no rendering. */
  | "failed"
  /** The engine does not render this prompt. It will say why when it is to serve the request. */
  | "refused"
  /** The engines render no prompts, or this kind of prompt. */
  | "unsupported"
  /** It has failed too often a moment ago. */
  | "paused"
  /** The tokenizer is not there yet. */
  | "loading"
  /** The isolate has the tokenizer of another pool. */
  | "occupied"
  /** The tokenizer cannot be had: the log says why. */
  | "no-tokenizer"
  /** The client has left. */
  | "cancelled";

export interface PromptTokens {
  readonly tokens: Uint32Array;
  /** In order of their offsets. */
  readonly media: readonly PromptMedia[];
  /** False for the beginning of a prompt of which the rest is not known. */
  readonly isWhole: boolean;
}

export type Tokenized =
  | ({ readonly ok: true } & PromptTokens)
  | { readonly ok: false; readonly reason: UnkeyedReason };

export function unkeyed(reason: UnkeyedReason): Tokenized {
  return { ok: false, reason };
}
