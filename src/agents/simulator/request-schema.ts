// What the engine reads of OpenAI requests. Fields it does not know are left alone, as vLLM does.

import { z } from "zod";
import { badRequest, type EngineError } from "./errors.ts";
import { renderChat, tokenize, type Token } from "./model/tokenizer.ts";

/** Answers one request may ask for: prompts times `n`. */
const CHOICES_MAX = 128;

const tokenId = z.number().int().min(0).max(4_294_967_295);

const shared = {
  model: z.string(),
  n: z.number().int().min(1).max(CHOICES_MAX).nullish(),
  max_tokens: z.number().int().min(1).nullish(),
  ignore_eos: z.boolean().nullish(),
  stream: z.boolean().nullish(),
  stream_options: z
    .object({
      include_usage: z.boolean().nullish(),
      continuous_usage_stats: z.boolean().nullish(),
    })
    .nullish(),
  return_token_ids: z.boolean().nullish(),
  cache_salt: z.string().min(1).nullish(),
  seed: z.number().int().nullish(),
};

const chatSchema = z.object({
  ...shared,
  max_completion_tokens: z.number().int().min(1).nullish(),
  messages: z
    .array(
      z.object({
        role: z.string(),
        content: z
          .union([z.string(), z.array(z.object({ type: z.string(), text: z.string().optional() }))])
          .nullish(),
      }),
    )
    .min(1),
});

const textSchema = z.object({
  ...shared,
  echo: z.literal(false).nullish(),
  prompt: z.union([
    z.string(),
    z.array(tokenId).min(1),
    z.array(z.string()).min(1).max(CHOICES_MAX),
    z.array(z.array(tokenId).min(1)).min(1).max(CHOICES_MAX),
  ]),
});

const tokenizeSchema = z.union([
  z.object({ model: z.string().nullish(), prompt: z.string() }),
  z.object({ model: z.string().nullish(), messages: chatSchema.shape.messages }),
]);

/** One prompt as tokens, and what an echo of it says. */
interface Prompt {
  readonly tokens: readonly Token[];
  readonly echo: readonly Token[];
}

/** A completion or chat completion, understood. */
export interface GenerationRequest {
  readonly api: "chat" | "text";
  readonly model: string;
  readonly prompts: readonly Prompt[];
  /** Answers to each prompt. */
  readonly choicesPerPrompt: number;
  readonly limit: number | undefined;
  readonly isEosIgnored: boolean;
  readonly isStream: boolean;
  readonly isUsageIncluded: boolean;
  readonly isUsageContinuous: boolean;
  readonly areTokenIdsReturned: boolean;
  readonly cacheSalt: string | undefined;
  readonly seed: number | undefined;
}

type Parsed<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly error: EngineError };

export function parseChat(body: unknown): Parsed<GenerationRequest> {
  const parsed = chatSchema.safeParse(body);
  if (!parsed.success) return { ok: false, error: describe(parsed.error) };
  const turns = chatTurns(parsed.data.messages);
  const prompt = { tokens: tokenize(renderChat(turns)), echo: tokenize(turns.at(-1)!.text) };
  const limit = parsed.data.max_completion_tokens ?? parsed.data.max_tokens ?? undefined;
  return generation("chat", parsed.data, [prompt], limit);
}

export function parseText(body: unknown): Parsed<GenerationRequest> {
  const parsed = textSchema.safeParse(body);
  if (!parsed.success) return { ok: false, error: describe(parsed.error) };
  const { prompt, max_tokens: limit } = parsed.data;
  const prompts: Prompt[] = [];
  for (const one of promptList(prompt)) {
    const tokens = typeof one === "string" ? tokenize(one) : one.map(idToken);
    if (tokens.length === 0) {
      return { ok: false, error: badRequest("The decoder prompt cannot be empty.", "prompt") };
    }
    prompts.push({ tokens, echo: tokens });
  }
  return generation("text", parsed.data, prompts, limit ?? undefined);
}

/** The tokens /tokenize counts. */
export function parseTokenize(
  body: unknown,
): Parsed<{ readonly model: string | undefined; readonly tokens: readonly Token[] }> {
  const parsed = tokenizeSchema.safeParse(body);
  if (!parsed.success) return { ok: false, error: describe(parsed.error) };
  const { data } = parsed;
  const text = "prompt" in data ? data.prompt : renderChat(chatTurns(data.messages));
  return { ok: true, value: { model: data.model ?? undefined, tokens: tokenize(text) } };
}

function generation(
  api: "chat" | "text",
  data: Omit<z.output<typeof textSchema>, "prompt">,
  prompts: readonly Prompt[],
  limit: number | undefined,
): Parsed<GenerationRequest> {
  const choicesPerPrompt = data.n ?? 1;
  if (prompts.length * choicesPerPrompt > CHOICES_MAX) {
    return { ok: false, error: badRequest(`Prompts times n must not exceed ${CHOICES_MAX}.`, "n") };
  }
  if (data.ignore_eos === true && limit === undefined) {
    const message = "ignore_eos needs max_tokens.";
    return { ok: false, error: badRequest(message, "ignore_eos") };
  }
  if (data.stream_options != null && data.stream !== true) {
    const message = "Stream options can only be defined when `stream=True`.";
    return { ok: false, error: badRequest(message, "stream_options") };
  }
  return {
    ok: true,
    value: {
      api,
      model: data.model,
      prompts,
      choicesPerPrompt,
      limit,
      isEosIgnored: data.ignore_eos ?? false,
      isStream: data.stream ?? false,
      isUsageIncluded: data.stream_options?.include_usage ?? false,
      isUsageContinuous: data.stream_options?.continuous_usage_stats ?? false,
      areTokenIdsReturned: data.return_token_ids ?? false,
      cacheSalt: data.cache_salt ?? undefined,
      seed: data.seed ?? undefined,
    },
  };
}

function chatTurns(messages: z.output<typeof chatSchema>["messages"]) {
  return messages.map(({ role, content }) => ({
    role,
    text:
      typeof content === "string"
        ? content
        : (content ?? []).map((part) => part.text ?? "").join("\n"),
  }));
}

function promptList(
  prompt: z.output<typeof textSchema>["prompt"],
): readonly (string | readonly number[])[] {
  if (typeof prompt === "string") return [prompt];
  return typeof prompt[0] === "number" ? [prompt as number[]] : (prompt as string[] | number[][]);
}

/** A token known by its id only; an echo says the id. */
function idToken(id: number, index: number): Token {
  return { id, text: index === 0 ? String(id) : `,${id}` };
}

/** Says where and what, never the value: it may be a prompt. */
function describe(error: z.ZodError): EngineError {
  const issue = error.issues[0]!;
  const path = issue.path.map(String);
  return badRequest(`${path.join(".") || "body"}: ${issue.message}`, path[0] ?? null);
}
