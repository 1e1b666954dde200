// The few fields of a request that routing reads. Everything else passes through untouched, known
// or not: the engine is the judge of its own parameters.
//
// Arrays are checked element by element and given up at the first mistake: a schema over the whole
// array would collect one issue an element, and a body has room for millions.

import { z } from "zod";
import type { CompletionPrompt } from "../../scheduler/kv/canonical/canonical-prompt.ts";
import { type Checked, refuse } from "./errors.ts";

const MODEL_CHARS_MAX = 256;

const positive = z.int("expected a positive integer").min(1, "expected a positive integer");
const text = z.string("expected a string");
const object = z.looseObject({}, "expected an object");
const array = z.array(z.unknown(), "expected an array");

/** Fields that both routes read. Null counts as absent, as in OpenAI's API. */
const common = {
  // A pool's rewrite may stand in for a model that is not named.
  model: text
    .min(1, "expected the name of a model")
    .max(MODEL_CHARS_MAX, `expected at most ${MODEL_CHARS_MAX} characters`)
    .optional(),
  stream: z.boolean("expected true or false").nullish(),
  stream_options: z
    .object({ include_usage: z.boolean("expected true or false").nullish() }, "expected an object")
    .nullish(),
  n: positive.nullish(),
  max_tokens: positive.nullish(),
  cache_salt: text.min(1, "expected a string that is not empty").nullish(),
};

const chatFields = z.object({
  ...common,
  chat_template: z.unknown().optional(),
  chat_template_kwargs: z.unknown().optional(),
  documents: z.unknown().optional(),
  reasoning_effort: z.unknown().optional(),
  max_completion_tokens: positive.nullish(),
  messages: z.array(z.unknown(), "expected an array of messages").min(1, "expected a message"),
  tools: array.nullish(),
});

const messageFields = z.object(
  {
    role: text.min(1, "expected a role"),
    content: z.union([text, array], "expected a string or an array of parts").nullish(),
    name: text.nullish(),
    tool_calls: array.nullish(),
    tool_call_id: text.nullish(),
  },
  "expected an object with `role` and `content`",
);

/** A part is text or names media; which kinds there are is the engine's affair. */
const partFields = z.looseObject(
  { type: text, text: text.nullish() },
  "expected an object with a `type`",
);
export type ContentPart = z.output<typeof partFields>;

export interface ChatMessage extends Omit<z.output<typeof messageFields>, "content"> {
  readonly content: string | readonly ContentPart[] | null;
}
export interface ChatRequest extends Omit<z.output<typeof chatFields>, "messages"> {
  readonly messages: readonly ChatMessage[];
}

const completionFields = z.object({ ...common, prompt: z.unknown() });
export interface CompletionRequest extends Omit<z.output<typeof completionFields>, "prompt"> {
  readonly prompt: CompletionPrompt;
}

type Path = readonly (string | number)[];

/** Parses the body of a chat completion. The refusal names the first field that is wrong. */
export function parseChatRequest(value: unknown): Checked<ChatRequest> {
  const plain = plainChatFields(value);
  const fields =
    plain === undefined ? parse(chatFields, value, []) : { ok: true as const, value: plain };
  if (!fields.ok) return fields;
  const tools = parseEach(object, fields.value.tools ?? [], ["tools"]);
  if (!tools.ok) return tools;
  const given = fields.value.messages;
  const messages: ChatMessage[] = [];
  for (let index = 0; index < given.length; index++) {
    const plainOne = plainMessage(given[index]);
    const message =
      plainOne === undefined
        ? parseMessage(given[index], ["messages", index])
        : { ok: true as const, value: plainOne };
    if (!message.ok) return message;
    messages.push(message.value);
  }
  return { ok: true, value: { ...fields.value, messages } };
}

function parseMessage(value: unknown, path: Path): Checked<ChatMessage> {
  const message = parse(messageFields, value, path);
  if (!message.ok) return message;
  const { content, tool_calls } = message.value;
  const calls = parseEach(object, tool_calls ?? [], [...path, "tool_calls"]);
  if (!calls.ok) return calls;
  if (typeof content === "string") return { ok: true, value: { ...message.value, content } };
  const parts = parseEach(partFields, content ?? [], [...path, "content"]);
  return parts.ok ? { ok: true, value: { ...message.value, content: parts.value } } : parts;
}

type ChatFields = z.output<typeof chatFields>;

const isCount = (value: unknown) =>
  value === null || (Number.isSafeInteger(value) && (value as number) >= 1);
const isAny = () => true;

/** What of each field is right beyond doubt. Of the others some are right, too. */
const PLAIN: { readonly [Field in keyof ChatFields]-?: (value: unknown) => boolean } = {
  model: (value) => typeof value === "string" && value !== "" && value.length <= MODEL_CHARS_MAX,
  stream: (value) => value === null || typeof value === "boolean",
  stream_options: isPlainStreamOptions,
  n: isCount,
  max_tokens: isCount,
  cache_salt: (value) => value === null || (typeof value === "string" && value !== ""),
  chat_template: isAny,
  chat_template_kwargs: isAny,
  documents: isAny,
  reasoning_effort: isAny,
  max_completion_tokens: isCount,
  messages: (value) => Array.isArray(value) && value.length > 0,
  tools: (value) => value === null || Array.isArray(value),
};
const PLAIN_FIELDS = Object.entries(PLAIN);

function isPlainStreamOptions(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return value === null;
  const { include_usage: usage, ...others } = value as Readonly<Record<string, unknown>>;
  return (usage === null || typeof usage === "boolean") && Object.keys(others).length === 0;
}

/** The fields of nearly every body, as the schema gives them: that takes ten times as long. Undefined: it is to be asked. */
// Hot path.
function plainChatFields(value: unknown): ChatFields | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const given = value as Readonly<Record<string, unknown>>;
  const plain: Record<string, unknown> = {};
  for (const [name, isPlain] of PLAIN_FIELDS) {
    const field = given[name];
    if (field === undefined) continue;
    if (!isPlain(field)) return undefined;
    plain[name] = field;
  }
  return plain["messages"] === undefined ? undefined : (plain as unknown as ChatFields);
}

/** Nearly every message, as the schema gives it: that takes ten times as long. Undefined: it is to be asked. */
// Hot path.
function plainMessage(value: unknown): ChatMessage | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const { role, content, name, tool_calls, tool_call_id } = value as Partial<ChatMessage>;
  const isPlain =
    typeof role === "string" &&
    role !== "" &&
    typeof content === "string" &&
    name === undefined &&
    tool_calls === undefined &&
    tool_call_id === undefined;
  return isPlain ? { role, content } : undefined;
}

/** Parses the body of a completion. The refusal names the first field that is wrong. */
export function parseCompletionRequest(value: unknown): Checked<CompletionRequest> {
  const fields = parse(completionFields, value, []);
  if (!fields.ok) return fields;
  const { prompt } = fields.value;
  if (prompt === undefined) {
    return refuse("invalid_value", "Missing required parameter `prompt`.", "prompt");
  }
  if (!isPrompt(prompt)) {
    return refuse(
      "invalid_value",
      "Invalid `prompt`: expected a string, an array of strings, token ids, or arrays of token ids.",
      "prompt",
    );
  }
  return { ok: true, value: { ...fields.value, prompt } };
}

function isPrompt(prompt: unknown): prompt is CompletionPrompt {
  if (typeof prompt === "string") return true;
  if (!Array.isArray(prompt) || prompt.length === 0) return false;
  return (
    prompt.every((item) => typeof item === "string") ||
    isTokenIds(prompt) ||
    prompt.every((item) => Array.isArray(item) && item.length > 0 && isTokenIds(item))
  );
}

function isTokenIds(items: readonly unknown[]): boolean {
  return items.every((item) => Number.isSafeInteger(item) && (item as number) >= 0);
}

function parseEach<Schema extends z.ZodType>(
  schema: Schema,
  values: readonly unknown[],
  path: Path,
): Checked<z.output<Schema>[]> {
  const parsed: z.output<Schema>[] = [];
  for (const [index, value] of values.entries()) {
    const result = parse(schema, value, [...path, index]);
    if (!result.ok) return result;
    parsed.push(result.value);
  }
  return { ok: true, value: parsed };
}

function parse<Schema extends z.ZodType>(
  schema: Schema,
  value: unknown,
  path: Path,
): Checked<z.output<Schema>> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return { ok: true, value: parsed.data };
  const [issue] = parsed.error.issues;
  const param = formatPath([...path, ...issue!.path]);
  const isMissing = issue!.path.length > 0 && !hasPath(value, issue!.path);
  const problem = isMissing ? "Missing required parameter" : "Invalid";
  return refuse("invalid_value", `${problem} \`${param}\`: ${issue!.message}.`, param);
}

/** e.g. `messages[2].content`. Paths consist of our own field names and of indices. */
function formatPath(path: readonly PropertyKey[]): string {
  return path.reduce<string>((joined, key) => {
    if (typeof key === "number") return `${joined}[${key}]`;
    return joined === "" ? String(key) : `${joined}.${String(key)}`;
  }, "");
}

function hasPath(value: unknown, path: readonly PropertyKey[]): boolean {
  let at = value;
  for (const key of path) {
    if (typeof at !== "object" || at === null || !Object.hasOwn(at, key)) return false;
    at = (at as Record<PropertyKey, unknown>)[key];
  }
  return true;
}
