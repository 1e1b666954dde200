// The bodies of answers, as vLLM's two OpenAI endpoints shape them (vllm/entrypoints/openai,
// chat_completion/protocol.py and completion/protocol.py).

import type { PromptItem } from "./model/prompt.ts";
import type { Token } from "./model/tokenizer.ts";
import type { ToolCall } from "./tool-call.ts";

/** One choice as far as it has been generated. */
export interface Choice {
  readonly index: number;
  readonly promptTokens: readonly Token[];
  readonly items: readonly PromptItem[];
  readonly output: readonly Token[];
  /** The last where too little of the prompt was cached for an answer. */
  readonly finishReason: "stop" | "length" | "tool_calls" | "cache_threshold";
  /** In place of text: the output is this call. */
  readonly toolCall?: ToolCall;
}

/** A part of a choice: its tokens from `start` to `end`. */
interface Delta {
  readonly start: number;
  readonly end: number;
}

export interface Usage {
  readonly promptTokens: number;
  readonly cachedTokens: number;
  readonly completionTokens: number;
}

/** What all bodies of one answer have in common. */
export interface AnswerHead {
  readonly requestId: string;
  /** Unix seconds. */
  readonly created: number;
  readonly model: string;
  readonly areTokenIdsReturned: boolean;
}

type Json = Record<string, unknown>;

/** How one of the endpoints writes its answer. */
export interface AnswerShape {
  /** A chunk before the first token, where the endpoint has one. */
  opening(head: AnswerHead, choice: Choice): Json | undefined;
  chunk(head: AnswerHead, choice: Choice, delta: Delta): Json;
  /** A chunk without choices, for the usage at the end of a stream. */
  closing(head: AnswerHead): Json;
  whole(head: AnswerHead, choices: readonly Choice[]): Json;
}

export function encodeUsage(usage: Usage): Json {
  return {
    prompt_tokens: usage.promptTokens,
    total_tokens: usage.promptTokens + usage.completionTokens,
    completion_tokens: usage.completionTokens,
    prompt_tokens_details: { cached_tokens: usage.cachedTokens },
  };
}

const ids = (tokens: readonly Token[]) => tokens.map((token) => token.id);
const text = (tokens: readonly Token[]) => tokens.map((token) => token.text).join("");

/** Fields of a choice that tell tokens by id; absent unless asked for. */
function tokenFields(head: AnswerHead, tokens: readonly Token[]): Json {
  return head.areTokenIdsReturned ? { token_ids: ids(tokens) } : {};
}

function promptFields(head: AnswerHead, choice: Choice): Json {
  return head.areTokenIdsReturned ? { prompt_token_ids: ids(choice.promptTokens) } : {};
}

function base(head: AnswerHead, prefix: string, object: string): Json {
  const { requestId, created, model } = head;
  return { id: `${prefix}-${requestId}`, object, created, model };
}

const isLast = (choice: Choice, delta: Delta) => delta.end === choice.output.length;

/** Parsers of calls have nothing to tell before they know which one it is; this one tells it when it is whole. */
function partOfCall(choice: Choice, delta: Delta): Json {
  return isLast(choice, delta) ? { tool_calls: [{ index: 0, ...choice.toolCall }] } : {};
}

const CHUNK = "chat.completion.chunk";

export const chatShape: AnswerShape = {
  opening: (head, choice) => ({
    ...base(head, "chatcmpl", CHUNK),
    choices: [
      {
        index: choice.index,
        delta: { role: "assistant", content: "" },
        logprobs: null,
        finish_reason: null,
      },
    ],
    ...promptFields(head, choice),
  }),
  chunk(head, choice, delta) {
    const tokens = choice.output.slice(delta.start, delta.end);
    return {
      ...base(head, "chatcmpl", CHUNK),
      choices: [
        {
          index: choice.index,
          delta:
            choice.toolCall === undefined ? { content: text(tokens) } : partOfCall(choice, delta),
          logprobs: null,
          finish_reason: isLast(choice, delta) ? choice.finishReason : null,
          ...(isLast(choice, delta) ? { stop_reason: null } : {}),
          ...tokenFields(head, tokens),
        },
      ],
    };
  },
  closing: (head) => ({ ...base(head, "chatcmpl", CHUNK), choices: [] }),
  whole: (head, choices) => ({
    ...base(head, "chatcmpl", "chat.completion"),
    choices: choices.map((choice) => ({
      index: choice.index,
      message: {
        role: "assistant",
        content: choice.toolCall === undefined ? text(choice.output) : null,
        refusal: null,
        tool_calls: choice.toolCall === undefined ? [] : [choice.toolCall],
      },
      logprobs: null,
      finish_reason: choice.finishReason,
      stop_reason: null,
      ...tokenFields(head, choice.output),
    })),
    ...promptFields(head, choices[0]!),
  }),
};

export const textShape: AnswerShape = {
  opening: () => undefined,
  chunk(head, choice, delta) {
    const tokens = choice.output.slice(delta.start, delta.end);
    return {
      ...base(head, "cmpl", "text_completion"),
      choices: [
        {
          index: choice.index,
          text: text(tokens),
          logprobs: null,
          finish_reason: isLast(choice, delta) ? choice.finishReason : null,
          stop_reason: null,
          ...(delta.start === 0 ? promptFields(head, choice) : {}),
          ...tokenFields(head, tokens),
        },
      ],
    };
  },
  closing: (head) => ({ ...base(head, "cmpl", "text_completion"), choices: [] }),
  whole: (head, choices) => ({
    ...base(head, "cmpl", "text_completion"),
    choices: choices.map((choice) => ({
      index: choice.index,
      text: text(choice.output),
      logprobs: null,
      finish_reason: choice.finishReason,
      stop_reason: null,
      ...promptFields(head, choice),
      ...tokenFields(head, choice.output),
    })),
  }),
};
