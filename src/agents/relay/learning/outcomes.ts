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
  /** The engine was away or refused; or is left alone, as it was slow; or the thread broke over the prompt. */
  "failed",
  /** The engine does not tell the texts of tokens. */
  "unsupported",
  /** The prompt was not found again in the text that the engine made of it. */
  "unaligned",
] as const;
export type LearnOutcome = (typeof LEARN_OUTCOMES)[number];

/** What became of an answer, whose prompt was learned from or known. A metric label. */
export const ANSWER_OUTCOMES = [
  /** The conversation that it made of its prompt was learned. */
  "learned",
  "known",
  "full",
  "too-large",
  /** Its body or its end is not understood, or the engine gave it up. */
  "unreadable",
  "other-keys",
  "media",
  "failed",
  "unsupported",
  "unaligned",
  /** No block of content ends in it. */
  "short",
  /** The client left, the engine broke off, or somebody else was served first. */
  "unended",
  /** It was one of several, or not all of it is an answer. */
  "unfit",
] as const satisfies readonly (Exclude<LearnOutcome, "unnamed"> | "short" | "unended" | "unfit")[];
export type AnswerOutcome = (typeof ANSWER_OUTCOMES)[number];
