// What the engine reads of OpenAI requests. Fields it does not know are left alone, as vLLM does.

import { z } from "zod";
import { badRequest, type EngineError } from "./errors.ts";
import {
  renderChat,
  type ChatTurn,
  type MediaPart,
  type PromptItem,
  type RenderedPrompt,
} from "./model/prompt.ts";
import { tokenize, type Token } from "./model/tokenizer.ts";

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
  return_mm_kwargs: z.boolean().nullish(),
  cache_salt: z.string().min(1).nullish(),
  seed: z.number().int().nullish(),
  cache_hit_threshold: z.number().min(0).max(1).nullish(),
};

const media = z.object({ url: z.string() }).optional();

const part = z.object({
  type: z.string(),
  text: z.string().optional(),
  image_url: media,
  video_url: media,
  audio_url: media,
  input_audio: z.object({ data: z.string() }).optional(),
});

const chatShape = {
  messages: z
    .array(
      z.object({
        role: z.string(),
        content: z.union([z.string(), z.array(part)]).nullish(),
        tool_calls: z.array(z.unknown()).nullish(),
      }),
    )
    .min(1),
  tools: z.array(z.unknown()).nullish(),
  tool_choice: z.unknown().optional(),
  add_generation_prompt: z.boolean().nullish(),
};

const chatSchema = z.object({
  ...shared,
  ...chatShape,
  max_completion_tokens: z.number().int().min(1).nullish(),
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

const tokenizeFields = {
  model: z.string().nullish(),
  return_token_strs: z.boolean().nullish(),
};

const tokenizeSchema = z.union([
  z.object({ ...tokenizeFields, prompt: z.string() }),
  z.object({ ...tokenizeFields, ...chatShape }),
]);

/** One prompt as tokens, and what an echo of it says. */
interface Prompt {
  readonly tokens: readonly Token[];
  readonly items: readonly PromptItem[];
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
  /** Whether a rendering brings what pictures were turned into. */
  readonly areKwargsReturned: boolean;
  readonly cacheSalt: string | undefined;
  readonly seed: number | undefined;
  /** The tool that answers must call; undefined where they are text. */
  readonly tool: string | undefined;
  /** The share of the prompt that must be cached; undefined: as the engine has it. */
  readonly cacheHitThreshold: number | undefined;
}

type Parsed<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly error: EngineError };

export function parseChat(body: unknown): Parsed<GenerationRequest> {
  const parsed = chatSchema.safeParse(body);
  if (!parsed.success) return { ok: false, error: describe(parsed.error) };
  const last = chatTurns(parsed.data.messages).at(-1)!;
  const text = last.parts.filter((one) => typeof one === "string").join("\n");
  const prompt = { ...renderMessages(parsed.data), echo: tokenize(text) };
  const limit = parsed.data.max_completion_tokens ?? parsed.data.max_tokens ?? undefined;
  const generated = generation("chat", parsed.data, [prompt], limit);
  if (!generated.ok) return generated;
  return { ok: true, value: { ...generated.value, tool: toolOf(parsed.data) } };
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
    prompts.push({ tokens, items: [], echo: tokens });
  }
  return generation("text", parsed.data, prompts, limit ?? undefined);
}

/** The tokens /tokenize counts. */
export function parseTokenize(body: unknown): Parsed<{
  readonly model: string | undefined;
  readonly tokens: readonly Token[];
  readonly areTextsReturned: boolean;
}> {
  const parsed = tokenizeSchema.safeParse(body);
  if (!parsed.success) return { ok: false, error: describe(parsed.error) };
  const { data } = parsed;
  const tokens = "prompt" in data ? tokenize(data.prompt) : renderMessages(data).tokens;
  const areTextsReturned = data.return_token_strs ?? false;
  return { ok: true, value: { model: data.model ?? undefined, tokens, areTextsReturned } };
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
      areKwargsReturned: data.return_mm_kwargs ?? true,
      cacheSalt: data.cache_salt ?? undefined,
      seed: data.seed ?? undefined,
      tool: undefined,
      cacheHitThreshold: data.cache_hit_threshold ?? undefined,
    },
  };
}

type ChatFields = Pick<z.output<typeof chatSchema>, keyof typeof chatShape>;

const named = z.object({ function: z.object({ name: z.string() }) });

/** Where a call is required, of the tool that is named or of the first; else answers are text. */
function toolOf({ tools, tool_choice: choice }: ChatFields): string | undefined {
  const asked = choice === "required" ? tools?.[0] : choice;
  return named.safeParse(asked).data?.function.name;
}

/** Tools and calls of tools are part of the prompt, as JSON. */
function renderMessages(chat: ChatFields): RenderedPrompt {
  const tools = chat.tools ?? [];
  return renderChat({
    turns: chatTurns(chat.messages),
    tools: tools.length === 0 ? "" : JSON.stringify(tools),
    isAnswerBegun: chat.add_generation_prompt ?? true,
  });
}

function chatTurns(messages: ChatFields["messages"]): ChatTurn[] {
  return messages.map(({ role, content, tool_calls: calls }) => {
    const parts = typeof content === "string" ? [content] : (content ?? []).map(partOf);
    return calls == null ? { role, parts } : { role, parts: [...parts, JSON.stringify(calls)] };
  });
}

function partOf(given: z.output<typeof part>): string | MediaPart {
  const { image_url: image, video_url: video, audio_url: audio, input_audio: input } = given;
  if (image !== undefined) return { modality: "image", source: image.url };
  if (video !== undefined) return { modality: "video", source: video.url };
  const sound = audio?.url ?? input?.data;
  return sound === undefined ? (given.text ?? "") : { modality: "audio", source: sound };
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
export function describe(error: z.ZodError): EngineError {
  const issue = error.issues[0]!;
  const path = issue.path.map(String);
  return badRequest(`${path.join(".") || "body"}: ${issue.message}`, path[0] ?? null);
}
