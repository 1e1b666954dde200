/** What became of a request as something to learn from. A metric label. */
export const LEARN_OUTCOMES = [
  "learned",
  /** The last block of its content was learned not long ago, or is just being. */
  "known",
  /** The Worker says nothing of its content: it is too short to have a key, or the Worker too old. */
  "unnamed",
  /** Too many are waiting. */
  "full",
  "too-large",
  /** The body is not understood. */
  "unreadable",
  /** The Worker made other keys of the prompt: it is of another release. */
  "other-keys",
  /** It begins with media, whose tokens nothing tells. */
  "media",
  /** The engine was away, slow, or refused. */
  "failed",
  /** The engine does not tell the texts of tokens. */
  "unsupported",
  /** The prompt was not found again in the text that the engine made of it. */
  "unaligned",
] as const;
export type LearnOutcome = (typeof LEARN_OUTCOMES)[number];
