// From a chat to the tokens an engine sees: the chat template, and what pictures become.
//
// A picture, a sound or a film is a run of equal placeholder tokens, so the tokens do not tell what
// it shows; its identifier does. vLLM's identifier is a hash of the content, ours of the URL or data.

import { fnv1a32 } from "./fnv.ts";
import { tokenize, type Token } from "./tokenizer.ts";

/** What a part of a message may be besides text, under vLLM's names. */
export type Modality = "image" | "audio" | "video";

/** A part of a message that is not text. */
export interface MediaPart {
  readonly modality: Modality;
  /** The URL, or the data itself. */
  readonly source: string;
}

/** One turn of a chat. */
export interface ChatTurn {
  readonly role: string;
  readonly parts: readonly (string | MediaPart)[];
}

/** Something in a prompt that is not text. */
export interface PromptItem {
  readonly modality: Modality;
  /** Equal for equal sources. */
  readonly identifier: string;
  /** Its first placeholder, counted from the beginning of the prompt. */
  readonly offset: number;
  /** Placeholders. */
  readonly length: number;
}

export interface RenderedPrompt {
  readonly tokens: readonly Token[];
  readonly items: readonly PromptItem[];
}

/** Placeholders of one item, whatever its size. */
export const PLACEHOLDER_COUNT = 64;

/** A chat, and how it is to be rendered. */
export interface Chat {
  readonly turns: readonly ChatTurn[];
  /** As JSON. They come first, as most templates have them; empty for none. */
  readonly tools: string;
  /** Whether the answer's turn is begun, as templates do where an answer is to follow. */
  readonly isAnswerBegun: boolean;
}

/**
 * The chat template, the one of llm-d-inference-sim (pkg/tokenizer/tokenizer.go) with the parts of a
 * turn on lines of their own. There, no answer's turn is begun, so that what was generated is never found again
 * by the next turn, which has it behind its role.
 */
export function renderChat({ turns, tools, isAnswerBegun }: Chat): RenderedPrompt {
  const tokens: Token[] = [];
  const items: PromptItem[] = [];
  let text = tools === "" ? "" : `### tools: ${tools}\n`;
  for (const turn of turns) {
    text += `### ${turn.role}: `;
    turn.parts.forEach((part, i) => {
      if (i > 0) text += "\n";
      if (typeof part === "string") {
        text += part;
        return;
      }
      appendAll(tokens, tokenize(text));
      text = "";
      items.push(itemOf(part, tokens.length));
      const placeholder = `<|${part.modality}|>`;
      const token = { id: fnv1a32(placeholder), text: placeholder };
      for (let n = 0; n < PLACEHOLDER_COUNT; n++) tokens.push(token);
    });
    text += "\n";
  }
  if (isAnswerBegun) text += "### assistant: ";
  appendAll(tokens, tokenize(text));
  return { tokens, items };
}

/** Not by spreading, which has a limit of its own. */
function appendAll(tokens: Token[], more: readonly Token[]): void {
  for (const token of more) tokens.push(token);
}

function itemOf({ modality, source }: MediaPart, offset: number): PromptItem {
  const hash = fnv1a32(source).toString(16).padStart(8, "0");
  return { modality, identifier: `sim_${modality}_${hash}`, offset, length: PLACEHOLDER_COUNT };
}
