// A chat as its template sees it, and what the template makes of it: as vLLM prepares both.
//
// Source: vLLM vllm/entrypoints/chat_utils.py. Exact for text and plain tools. A template that renders the
// date, or tools as a later vLLM completes them, can differ from the engine's; then keys match nothing there,
// which costs hits and no answer. The render endpoint is always the engine's own.

import type { Template } from "@huggingface/jinja";
import { z } from "zod";

const text = z.string().nullish();
const part = z.looseObject({ type: z.string(), text });
const message = z.looseObject({
  role: z.string(),
  content: z.union([z.string(), z.array(part)]).nullish(),
  name: text,
  tool_calls: z.array(z.looseObject({ function: z.looseObject({}).nullish() })).nullish(),
  tool_call_id: text,
});
export const chatSchema = z.looseObject({
  messages: z.array(message).min(1),
  tools: z.array(z.looseObject({ function: z.looseObject({}).nullish() })).nullish(),
  documents: z.unknown().optional(),
  add_generation_prompt: z.boolean().nullish(),
  continue_final_message: z.boolean().nullish(),
  add_special_tokens: z.boolean().nullish(),
  chat_template: z.unknown().optional(),
  chat_template_kwargs: z.record(z.string(), z.unknown()).nullish(),
  reasoning_effort: z.unknown().optional(),
});
export type ChatBody = z.output<typeof chatSchema>;
type Message = z.output<typeof message>;

/** A template that goes through a message's parts gets a list of them always; any other gets a text. */
export function takesParts(source: string): boolean {
  return /for\s+\w+\s+in\s+[\w.]*(?:\.content|\[\s*['"]content['"]\s*\])/.test(source);
}

export interface ChatRenderer {
  readonly template: Pick<Template, "render">;
  readonly takesParts: boolean;
  /** `bos_token` and the like, as the tokenizer's configuration has them. */
  readonly specialTokens: Readonly<Record<string, string>>;
}

/** The rendered chat. Of one with media, up to the message with the first; undefined if that is the first. */
export function renderChat(
  body: ChatBody,
  { template, takesParts: hasParts, specialTokens }: ChatRenderer,
): { readonly text: string; readonly isWhole: boolean } | undefined {
  const firstMedia = body.messages.findIndex(hasMedia);
  const isWhole = firstMedia < 0;
  const messages = isWhole ? body.messages : body.messages.slice(0, firstMedia);
  if (messages.length === 0) return undefined;
  const rendered = template.render({
    ...specialTokens,
    messages: messages.map((each) => templateMessage(each, hasParts)),
    ...given("tools", (body.tools?.length ?? 0) === 0 ? null : body.tools?.map(templateTool)),
    ...given("documents", body.documents),
    ...given("reasoning_effort", body.reasoning_effort),
    add_generation_prompt: isWhole && body.add_generation_prompt !== false,
    ...body.chat_template_kwargs,
  });
  return { text: rendered, isWhole };
}

function given(name: string, value: unknown): Record<string, unknown> {
  return value === undefined || value === null ? {} : { [name]: value };
}

function hasMedia({ content }: Message): boolean {
  return Array.isArray(content) && content.some(({ type }) => type !== "text");
}

function templateMessage(from: Message, hasParts: boolean): Record<string, unknown> {
  const content = from.content ?? [];
  const parts = typeof content === "string" ? [{ type: "text", text: content }] : content;
  const texts = parts.map((each) => each.text ?? "");
  return {
    role: from.role,
    content: hasParts ? texts.map((each) => ({ type: "text", text: each })) : texts.join("\n"),
    ...given("name", from.name),
    ...given("tool_call_id", from.tool_call_id),
    ...given("reasoning_content", from["reasoning_content"]),
    ...given("tool_calls", from.tool_calls?.map(templateCall)),
  };
}

/** Arguments are JSON on the wire, and objects for templates. */
function templateCall(call: NonNullable<Message["tool_calls"]>[number]): unknown {
  const { function: called } = call;
  const written = called?.["arguments"];
  if (typeof written !== "string") return call;
  try {
    return { ...call, function: { ...called, arguments: JSON.parse(written) as unknown } };
  } catch {
    // A model's own words, which need not be JSON.
    return call;
  }
}

/** As vLLM's schema of a tool writes it out: all of its fields, in this order. */
function templateTool({
  function: tool,
}: {
  function?: Record<string, unknown> | null | undefined;
}) {
  const { name, description = null, parameters = null } = tool ?? {};
  return { type: "function", function: { name, description, parameters } };
}
