// The canonical prompt: one text that is equal for two requests exactly as far as what their engines
// see is equal. Content keys are made from it.
//
//   chat         template fields, tools, then of each message: role, name, content, tool calls
//   completions  the prompt; token ids stand as their numbers
//
// Each piece of a conversation begins with a lone surrogate and its kind. Bodies with lone surrogates
// are refused, so no prompt contains one, and no text can be mistaken for a boundary. What shapes
// only the answer (response_format, sampling) does not enter.

import { sha256Hex } from "../crypto.ts";
import { type ChatRequest, type ContentPart, type Prompt, TEMPLATE_FIELDS } from "./schemas.ts";

/** Begins each piece of a conversation; see prompt-bytes.ts for what becomes of it. */
export const BOUNDARY = "\ud800";

/** Media up to this length stand as they are; a longer one (a data URL) as its hash. */
export const MEDIA_CHARS_MAX = 2_048;

/** Gets the text in pieces, in order. */
export type PromptSink = (text: string) => void;

/** Writes a conversation. */
export async function writeChatPrompt(request: ChatRequest, sink: PromptSink): Promise<void> {
  const write = (kind: string, text: string | null | undefined) => {
    if (typeof text !== "string") return;
    // Two pieces: joined, a long text would be copied, and at two bytes a character.
    sink(`${BOUNDARY}${kind}:`);
    sink(text);
  };
  const writeJson = (kind: string, value: unknown) => {
    if (value !== undefined && value !== null) write(kind, JSON.stringify(value));
  };
  for (const field of TEMPLATE_FIELDS) writeJson(field, request[field]);
  writeJson("tools", request.tools);
  for (const message of request.messages) {
    write("role", message.role);
    write("name", message.name);
    write("tool_call_id", message.tool_call_id);
    if (typeof message.content === "string") write("text", message.content);
    else {
      for (const part of message.content ?? []) {
        // The same text as a string and as a part is one: engines render them alike.
        if (part.type === "text") write("text", part.text);
        else write("part", await mediaName(part));
      }
    }
    writeJson("tool_calls", message.tool_calls);
  }
}

async function mediaName(part: ContentPart): Promise<string> {
  const json = JSON.stringify(part);
  return json.length <= MEDIA_CHARS_MAX ? json : sha256Hex(json);
}

/** How much there is of a completion's prompts, all of them. */
export interface PromptCounts {
  readonly prompts: number;
  /** 0 where the prompts are texts. */
  readonly tokenIds: number;
  /** UTF-16 code units; 0 where the prompts are token ids. */
  readonly chars: number;
}

/**
 * Writes the first prompt. An array of prompts is one request to one endpoint, so the first speaks
 * for all; the others are only counted.
 */
export function writeCompletionPrompt(prompt: Prompt, sink: PromptSink): PromptCounts {
  const prompts: readonly (string | readonly number[])[] =
    typeof prompt === "string" ? [prompt] : isNumbers(prompt) ? [prompt] : prompt;
  const [first] = prompts;
  sink(typeof first === "string" ? first : first!.join(","));
  let tokenIds = 0;
  let chars = 0;
  for (const each of prompts) {
    if (typeof each === "string") chars += each.length;
    else tokenIds += each.length;
  }
  return { prompts: prompts.length, tokenIds, chars };
}

function isNumbers(prompt: Exclude<Prompt, string>): prompt is readonly number[] {
  return typeof prompt[0] === "number";
}
