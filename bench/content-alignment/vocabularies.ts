// The vocabularies that content blocks are measured with.

import { createRng } from "../../src/scheduler/support/rng.ts";
import { CASES, conversation } from "./conversations.ts";
import { TEMPLATES } from "./templates.ts";
import { trainBytePairs, trainUnigram } from "./vocabulary.ts";

/** Conversations of each case that the small ones are trained on. */
const CONVERSATIONS_EACH = 2;
/** Above the ids of any vocabulary. */
const MARKER_ID_FROM = 1_000_000;

const MARKERS = [...new Set(TEMPLATES.flatMap((template) => template.markers))];

export interface Vocabulary {
  readonly name: string;
  /** In the form of tokenizer.json. */
  readonly tokenizer: object;
}

export function smallVocabularies(): Vocabulary[] {
  const text = trainingText();
  return [
    { name: "byte pairs", tokenizer: trainBytePairs(text, MARKERS) },
    { name: "unigram", tokenizer: trainUnigram(text, MARKERS) },
  ];
}

/** A model's own tokenizer, which also knows the markers of our templates. */
export function withMarkers(tokenizer: object): object {
  const { added_tokens: added } = tokenizer as { added_tokens: { content: string }[] };
  const known = new Set(added.map(({ content }) => content));
  const missing = MARKERS.filter((content) => !known.has(content)).map((content, i) => ({
    ...added[0],
    id: MARKER_ID_FROM + i,
    content,
  }));
  return { ...tokenizer, added_tokens: [...added, ...missing] };
}

function trainingText(): string {
  const rng = createRng(7);
  let text = "";
  for (const kind of CASES) {
    for (let i = 0; i < CONVERSATIONS_EACH; i++) {
      const { messages, tools } = conversation(rng, kind, 2);
      text += JSON.stringify(tools ?? "");
      for (const { content } of messages) if (typeof content === "string") text += `${content}\n`;
    }
  }
  return text;
}
