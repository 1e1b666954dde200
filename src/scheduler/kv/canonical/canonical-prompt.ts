// The canonical prompt: one text that is equal for two requests exactly as far as what their engines
// see is equal. Content keys are made from it, by the Worker, and again by whoever learns what a prompt's
// content became.
//
//   chat         template fields, leading system messages, tools, then all other messages;
//                of each message: role, name, content, tool calls
//   completions  the prompt; token ids stand as their numbers
//
// Tools stand where most templates render them, so that what two requests share of the one they share of
// the other. Each piece of a conversation begins with a lone surrogate and its kind. Bodies with lone surrogates
// are refused, so no prompt contains one, and no text can be mistaken for a boundary. What shapes
// only the answer (response_format, sampling) does not enter.

/** Begins each piece of a conversation; see prompt-bytes.ts for what becomes of it. */
export const BOUNDARY = "\ud800";

/** Media up to this length stand as they are; a longer one (a data URL) as its hash. */
export const MEDIA_CHARS_MAX = 2_048;

/** Fields that change how engines render a conversation. */
export const TEMPLATE_FIELDS = [
  "chat_template",
  "chat_template_kwargs",
  "documents",
  "reasoning_effort",
] as const;

/** Roles whose messages templates render before tools, where they come first. */
const SYSTEM_ROLES: readonly string[] = ["system", "developer"];

/** A part is text or names media. */
export interface PromptPart {
  readonly type: string;
  readonly text?: string | null | undefined;
  readonly [field: string]: unknown;
}

/** What is read of a message. Null counts as absent. */
export interface PromptMessage {
  readonly role: string;
  readonly content: string | readonly PromptPart[] | null;
  readonly name?: string | null | undefined;
  readonly tool_calls?: readonly unknown[] | null | undefined;
  readonly tool_call_id?: string | null | undefined;
}

/** What is read of a conversation. */
export type ChatPrompt = {
  readonly messages: readonly PromptMessage[];
  readonly tools?: readonly unknown[] | null | undefined;
} & { readonly [Field in (typeof TEMPLATE_FIELDS)[number]]?: unknown };

/** The four forms OpenAI and the engines take. */
export type CompletionPrompt =
  | string
  | readonly string[]
  | readonly number[]
  | readonly (readonly number[])[];

/** Gets the text in pieces, in order. */
export type PromptSink = (text: string) => void;

/** SHA-256 of a text's UTF-8, as lower-case hex: platforms differ in how they compute it. */
export type TextDigest = (text: string) => Promise<string> | string;

/** Writes a conversation. `marked` is called after each piece that its sender wants cached up to there. */
export async function writeChatPrompt(
  prompt: ChatPrompt,
  sink: PromptSink,
  digest: TextDigest,
  marked?: () => void,
): Promise<void> {
  const { messages } = prompt;
  const write = (kind: string, text: string | null | undefined) => {
    if (typeof text !== "string") return;
    // Two pieces: joined, a long text would be copied, and at two bytes a character.
    sink(`${BOUNDARY}${kind}:`);
    sink(text);
  };
  const writeJson = (kind: string, value: unknown) => {
    if (value !== undefined && value !== null) write(kind, JSON.stringify(value));
  };
  const writeParts = async (parts: readonly PromptPart[]) => {
    for (const part of parts) {
      // The same text as a string and as a part is one: engines render them alike.
      if (part.type === "text") write("text", part.text);
      else write("part", await mediaName(part, digest));
      if (isMarked(part)) marked?.();
    }
  };
  const writeMessages = async (from: number, to: number) => {
    for (let at = from; at < to; at++) {
      const { role, name, tool_call_id, content, tool_calls } = messages[at]!;
      write("role", role);
      write("name", name);
      write("tool_call_id", tool_call_id);
      // Nearly all are text: nothing is waited for.
      if (typeof content === "string") write("text", content);
      else await writeParts(content ?? []);
      writeJson("tool_calls", tool_calls);
    }
  };
  const firstOther = messages.findIndex(({ role }) => !SYSTEM_ROLES.includes(role));
  const leading = firstOther < 0 ? messages.length : firstOther;
  for (const field of TEMPLATE_FIELDS) writeJson(field, prompt[field]);
  await writeMessages(0, leading);
  writeJson("tools", prompt.tools);
  if (marked !== undefined && prompt.tools?.some(isMarked) === true) marked();
  await writeMessages(leading, messages.length);
}

/** Anthropic's `cache_control`, which others took over. */
function isMarked(piece: unknown): boolean {
  const { cache_control: mark } = piece as { readonly cache_control?: unknown };
  return mark !== undefined && mark !== null;
}

/** The members named first, whatever parsed the body. */
async function mediaName({ type, text, ...rest }: PromptPart, digest: TextDigest): Promise<string> {
  const json = JSON.stringify({ type, ...(text === undefined ? {} : { text }), ...rest });
  return json.length <= MEDIA_CHARS_MAX ? json : digest(json);
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
export function writeCompletionPrompt(prompt: CompletionPrompt, sink: PromptSink): PromptCounts {
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

function isNumbers(prompt: Exclude<CompletionPrompt, string>): prompt is readonly number[] {
  return typeof prompt[0] === "number";
}
