// Decoding a chat in chunks, so that one long answer does not keep its place in an engine to its end.
//
//   request 1   the request as it came, at most `chunkTokens` tokens, in one piece
//   request n   the same without what engines hand over, with the answer so far as a last message that
//               the engine is to continue
//   until       an answer ends for another reason than its length, or the client's own limit is reached
//
// What an engine keeps from token to token is lost between chunks (grammars, stop strings, tool calls,
// penalties, seeds): a request that uses such a thing is decoded in one. So is one whose first chunk ends in
// or after a model's reasoning, or without text: a template may drop that, and nothing can be continued. It is
// then asked for again.
//
// Source: llm-d-router pkg/sidecar/proxy/decode.go. It adds a message for each chunk, tells a streaming
// client `length` after each, chunks every request, and asks for ever where an engine answers tokens
// without text.

import { scanElements } from "../../../protocol/json-spans.ts";
import type { StagedRequest } from "../connector.ts";
import { editMembers, isObject, parseJson, readMember, readMembers } from "./json-edits.ts";

/** Text held to be continued; an answer that grows past it ends as one that reached its limit. */
export const CHUNKED_TEXT_CHARS_MAX = 1024 * 1024;

const SCAN_LIMITS = { depthMax: 256, elementsMax: 65_536 };

/** Decoded in one where one of these says something. */
const WHOLE_ONLY = [
  "best_of",
  "continue_final_message",
  "frequency_penalty",
  "functions",
  "guided_choice",
  "guided_grammar",
  "guided_json",
  "guided_regex",
  "logprobs",
  "min_tokens",
  "presence_penalty",
  "response_format",
  "return_token_ids",
  "seed",
  "stop",
  "stop_token_ids",
  "structured_outputs",
  "tools",
  "use_beam_search",
] as const;

interface ChunkPlan {
  readonly body: Uint8Array;
  readonly messages: Uint8Array;
  readonly chunkTokens: number;
  /** Infinity where the client set no limit. */
  readonly tokensMax: number;
}

export type TakenChunk = "more" | "done" | "whole" | "unreadable";

/** What was read of an engine's answer to a chunk. */
interface ChunkAnswer {
  readonly bytes: Uint8Array;
  readonly choice: Uint8Array;
  readonly message: Uint8Array;
}

export class ChunkedDecode {
  readonly isStream: boolean;
  readonly #plan: ChunkPlan;
  /** Its id, its time and its prompt's usage are the whole answer's. */
  #first: ChunkAnswer | undefined;
  #last: ChunkAnswer | undefined;
  #text = "";
  #tokens = 0;
  #isDone = false;

  /** Undefined where the request is to be decoded in one: also where one chunk holds it. */
  static begin({ api, body }: StagedRequest, chunkTokens: number): ChunkedDecode | undefined {
    const members = api === "chat" ? readMembers(body) : undefined;
    const messages = members?.get("messages");
    if (members === undefined || messages === undefined) return undefined;
    const value = (key: string) => {
      const found = members.get(key);
      return found === undefined ? undefined : parseJson(found);
    };
    if (WHOLE_ONLY.some((key) => saysSomething(key, value(key)))) return undefined;
    if ((value("n") ?? 1) !== 1 || elementsOf(messages) === undefined) return undefined;
    const limits = [value("max_completion_tokens"), value("max_tokens")];
    const tokensMax = limits.find(isCount) ?? Infinity;
    if (tokensMax <= chunkTokens) return undefined;
    return new ChunkedDecode({ body, messages, chunkTokens, tokensMax });
  }

  private constructor(plan: ChunkPlan) {
    this.#plan = plan;
    this.isStream = valueOf(plan.body, "stream") === true;
  }

  /** The body of the next request; call `take` with its answer. */
  nextBody(): Uint8Array {
    const { body, messages } = this.#plan;
    const limit = String(this.#nextTokens());
    const continued = {
      kv_transfer_params: undefined,
      ec_transfer_params: undefined,
      continue_final_message: "true",
      add_generation_prompt: "false",
      messages: withAnswer(messages, this.#text),
    };
    const edited = editMembers(body, {
      max_tokens: limit,
      max_completion_tokens: limit,
      stream: "false",
      stream_options: undefined,
      ...(this.#first === undefined ? {} : continued),
    });
    return edited!;
  }

  /** The request without chunks, for the engine that has its blocks from the first one. */
  wholeBody(): Uint8Array {
    const { body } = this.#plan;
    return editMembers(body, { kv_transfer_params: undefined, ec_transfer_params: undefined })!;
  }

  /** Takes the body of an engine's 2xx answer. `whole`: it is of no use, and `wholeBody` is to be asked. */
  take(bytes: Uint8Array): TakenChunk {
    const answer = readAnswer(bytes);
    if (answer === undefined) return "unreadable";
    const asked = this.#nextTokens();
    const isFirst = this.#first === undefined;
    this.#first ??= answer;
    this.#last = answer;
    const content = valueOf(answer.message, "content");
    const text = typeof content === "string" ? content : "";
    this.#text += text;
    this.#tokens += completionTokens(answer) ?? asked;
    this.#isDone =
      valueOf(answer.choice, "finish_reason") !== "length" ||
      this.#tokens >= this.#plan.tokensMax ||
      this.#text.length > CHUNKED_TEXT_CHARS_MAX ||
      // There is nothing to continue: the engine would begin again.
      text === "";
    const isCutOff = valueOf(answer.choice, "finish_reason") === "length";
    if (isFirst && isCutOff && (text === "" || hasReasoning(answer))) return "whole";
    return this.#isDone ? "done" : "more";
  }

  /** The answer that was taken last, as an event for a client that streams. */
  event(): Uint8Array {
    const { bytes, choice, message } = this.#last!;
    const isFirst = this.#last === this.#first;
    const delta = isFirst ? message : editMembers(message, { role: undefined })!;
    const streamed = editMembers(choice, {
      message: undefined,
      delta,
      ...(this.#isDone ? {} : { finish_reason: "null" }),
    });
    return dataEvent(this.#asOne(bytes, { choices: arrayOf(streamed!), usage: undefined }));
  }

  /** What ends the stream. */
  streamEnd(): Uint8Array {
    const usage = this.#usage();
    const options = valueOf(this.#plan.body, "stream_options");
    const isAsked = isObject(options) && options["include_usage"] === true;
    const done = Buffer.from("data: [DONE]\n\n");
    if (!isAsked || usage === undefined) return done;
    const event = dataEvent(this.#asOne(this.#last!.bytes, { choices: "[]", usage }));
    return Buffer.concat([event, done]);
  }

  /** The whole answer, for a client that does not stream. */
  whole(): Uint8Array {
    const { bytes, choice } = this.#last!;
    const message = editMembers(this.#first!.message, { content: JSON.stringify(this.#text) });
    const usage = this.#usage();
    return editMembers(bytes, {
      ...this.#identity(),
      choices: arrayOf(editMembers(choice, { message: message! })!),
      ...(usage === undefined ? {} : { usage }),
    })!;
  }

  #nextTokens(): number {
    return Math.min(this.#plan.chunkTokens, this.#plan.tokensMax - this.#tokens);
  }

  /** The prompt was counted, and its cached part found, for the first chunk; later ones find it all. */
  #usage(): Uint8Array | undefined {
    const usage = readMember(this.#first!.bytes, "usage");
    if (usage === undefined) return undefined;
    const promptTokens = valueOf(usage, "prompt_tokens");
    const total = (typeof promptTokens === "number" ? promptTokens : 0) + this.#tokens;
    return editMembers(usage, {
      completion_tokens: String(this.#tokens),
      total_tokens: String(total),
      completion_tokens_details: undefined,
    });
  }

  #asOne(bytes: Uint8Array, members: Parameters<typeof editMembers>[1]): Uint8Array {
    const edits = { ...this.#identity(), object: '"chat.completion.chunk"', ...members };
    return editMembers(bytes, edits)!;
  }

  #identity(): Record<string, Uint8Array> {
    const first = this.#first!.bytes;
    const members = (["id", "created"] as const).map((key) => [key, readMember(first, key)]);
    return Object.fromEntries(members.filter(([, value]) => value !== undefined)) as Record<
      string,
      Uint8Array
    >;
  }
}

function readAnswer(bytes: Uint8Array): ChunkAnswer | undefined {
  if (!isObject(parseJson(bytes))) return undefined;
  const choices = readMember(bytes, "choices");
  const choice = choices === undefined ? undefined : elementsOf(choices)?.[0];
  const message = choice === undefined ? undefined : readMember(choice, "message");
  if (choice === undefined || message === undefined || !isObject(parseJson(message))) {
    return undefined;
  }
  return { bytes, choice, message };
}

/** As engines call it, of one version or another. */
function hasReasoning({ message }: ChunkAnswer): boolean {
  return ["reasoning", "reasoning_content"].some((key) => {
    const text = valueOf(message, key);
    return typeof text === "string" && text !== "";
  });
}

function completionTokens({ bytes }: ChunkAnswer): number | undefined {
  const usage = valueOf(bytes, "usage");
  const count = isObject(usage) ? usage["completion_tokens"] : undefined;
  return count === 0 || isCount(count) ? count : undefined;
}

/** `messages` and one of the assistant's after them. */
function withAnswer(messages: Uint8Array, text: string): Uint8Array {
  const last = scanElements(messages, SCAN_LIMITS)?.at(-1);
  const answer = JSON.stringify({ role: "assistant", content: text });
  if (last === undefined) return Buffer.from(`[${answer}]`);
  const kept = messages.subarray(0, last.end);
  return Buffer.concat([kept, Buffer.from(`,${answer}`), messages.subarray(last.end)]);
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) > 0;
}

/** Clients write many a default out. */
function saysSomething(key: string, value: unknown): boolean {
  if (value === undefined || value === null || value === false) return false;
  if (value === 0) return key === "seed";
  if (Array.isArray(value)) return value.length > 0;
  return !(isObject(value) && value["type"] === "text");
}

function valueOf(object: Uint8Array, key: string): unknown {
  const value = readMember(object, key);
  return value === undefined ? undefined : parseJson(value);
}

function elementsOf(array: Uint8Array): Uint8Array[] | undefined {
  const ranges = scanElements(array, SCAN_LIMITS);
  return ranges?.map(({ start, end }) => array.subarray(start, end));
}

function arrayOf(element: Uint8Array): Uint8Array {
  return Buffer.concat([Buffer.from("["), element, Buffer.from("]")]);
}

/** Line ends can stand only between members of JSON, where a space says the same. */
function dataEvent(json: Uint8Array): Uint8Array {
  const text = Buffer.from(json)
    .toString()
    .replaceAll(/[\r\n]/g, " ");
  return Buffer.from(`data: ${text}\n\n`);
}
