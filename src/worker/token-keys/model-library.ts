// The libraries that tokenize and render, and what is made of a model's files with them. Imported when the
// first pool asks for it: no other isolate runs a line of it.

import { Template } from "@huggingface/jinja";
import { Tokenizer } from "@huggingface/tokenizers";
import { z } from "zod";
import { type ChatRenderer, takesParts } from "./chat-template.ts";
import { TokenizerError } from "./model-files.ts";

/**
 * Tokens of a vocabulary. One of 151,000 takes 60 MB of the isolate's 128, and 90 while it is read; one of
 * 200,000 leaves too little for requests.
 */
export const VOCABULARY_MAX = 160_000;

const specialToken = z.union([z.string(), z.looseObject({ content: z.string() })]).nullish();
const configSchema = z.looseObject({
  bos_token: specialToken,
  eos_token: specialToken,
  pad_token: specialToken,
  unk_token: specialToken,
  chat_template: z
    .union([z.string(), z.array(z.looseObject({ name: z.string(), template: z.string() }))])
    .nullish(),
});

/** A model's files, as they were read. */
export interface ModelFiles {
  readonly tokenizer: Uint8Array;
  readonly config: Uint8Array | undefined;
  readonly template: Uint8Array | undefined;
}

export interface EdgeModel {
  readonly tokenizer: Pick<Tokenizer, "encode">;
  /** Undefined for a model without a chat template. */
  readonly chat: ChatRenderer | undefined;
}

/** Throws TokenizerError, which repeats nothing of the files. */
export function createModel(files: ModelFiles): EdgeModel {
  const config = configSchema.safeParse(
    files.config === undefined ? {} : parseJson(files.config, "tokenizerConfig"),
  );
  if (!config.success) throw new TokenizerError("tokenizerConfig is no tokenizer_config.json");
  const tokenizer = createTokenizer(files.tokenizer, config.data);
  const source =
    files.template === undefined ? templateIn(config.data) : decode(files.template, "chatTemplate");
  if (source === undefined) return { tokenizer, chat: undefined };
  try {
    const template = new Template(source);
    const specialTokens = specialTokensOf(config.data);
    return { tokenizer, chat: { template, takesParts: takesParts(source), specialTokens } };
  } catch {
    throw new TokenizerError("the chat template cannot be read");
  }
}

function createTokenizer(bytes: Uint8Array, config: object): Tokenizer {
  const json = parseJson(bytes, "tokenizer");
  const size = vocabularySize(json);
  if (size === undefined) throw new TokenizerError("tokenizer is no tokenizer.json");
  if (size > VOCABULARY_MAX) {
    throw new TokenizerError(
      `the vocabulary has ${size} tokens; at most ${VOCABULARY_MAX} fit into an isolate`,
    );
  }
  try {
    return new Tokenizer(json as object, config);
  } catch {
    throw new TokenizerError("the tokenizer is of a kind that is not known here");
  }
}

/** By hand: a schema would copy every token. Undefined for what is no tokenizer.json. */
function vocabularySize(json: unknown): number | undefined {
  const vocab = memberOf(memberOf(json, "model"), "vocab");
  if (Array.isArray(vocab)) return vocab.length;
  if (typeof vocab !== "object" || vocab === null) return undefined;
  let size = 0;
  for (const _ in vocab) size++;
  return size;
}

function memberOf(value: unknown, name: string): unknown {
  if (typeof value !== "object" || value === null) return undefined;
  return (value as Readonly<Record<string, unknown>>)[name];
}

function templateIn({ chat_template: chat }: z.output<typeof configSchema>): string | undefined {
  if (typeof chat === "string") return chat;
  return chat?.find(({ name }) => name === "default")?.template;
}

function specialTokensOf(config: z.output<typeof configSchema>): Record<string, string> {
  const tokens: Record<string, string> = {};
  for (const name of ["bos_token", "eos_token", "pad_token", "unk_token"] as const) {
    const token = config[name];
    if (typeof token === "string") tokens[name] = token;
    else if (token !== undefined && token !== null) tokens[name] = token.content;
  }
  return tokens;
}

function parseJson(bytes: Uint8Array, what: string): unknown {
  try {
    return JSON.parse(decode(bytes, what));
  } catch {
    throw new TokenizerError(`${what} is not JSON`);
  }
}

function decode(bytes: Uint8Array, what: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: false }).decode(bytes);
  } catch {
    throw new TokenizerError(`${what} is not UTF-8`);
  }
}
