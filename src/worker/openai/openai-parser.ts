// openai-parser: chat and text completions of OpenAI's API, as the engines serve them. From a body's
// bytes to what to forward and what the scheduler may know. The prompt goes no further than here.

import {
  type ByteEdit,
  insertMember,
  type JsonSpans,
  spliceBytes,
} from "../../agents/protocol/json-spans.ts";
import {
  writeChatPrompt,
  writeCompletionPrompt,
} from "../../scheduler/kv/canonical/canonical-prompt.ts";
import {
  BYTES_PER_TOKEN,
  CONTENT_BLOCK_BYTES,
  type ContentKeys,
  createContentKeys,
  hashContentRoot,
} from "../../scheduler/kv/content-keys.ts";
import { PARSERS } from "../../scheduler/parsers.ts";
import { sha256Hex } from "../crypto.ts";
import type {
  BodyTenant,
  ParsedRequest,
  Parser,
  ParserInput,
  Prepared,
} from "../parsers/parser.ts";
import { isSalted, saltBody, UNSALTED } from "./cache-salt.ts";
import { checkEngineControls } from "./engine-controls.ts";
import type { Checked } from "./errors.ts";
import { feedPrompt } from "./feed-prompt.ts";
import { describeMedia } from "./media.ts";
import { type JsonBody, parseJsonBody } from "./parse-json.ts";
import { type ChatMessage, parseChatRequest, parseCompletionRequest } from "./schemas.ts";

const TYPE = "openai-parser";
const encoder = new TextEncoder();

/** Claims what the catalogue says. */
export const openaiParser: Parser = {
  type: TYPE,
  claims: PARSERS.find(({ type }) => type === TYPE)!.claims,
  parse,
};

/** The fields of either route that count here. */
interface Fields {
  readonly model?: string | undefined;
  readonly stream?: boolean | null | undefined;
  readonly cache_salt?: string | null | undefined;
  readonly n?: number | null | undefined;
  readonly max_tokens?: number | null | undefined;
  readonly max_completion_tokens?: number | null | undefined;
  readonly messages?: readonly ChatMessage[];
}

/** What is known of a prompt once it is written. */
interface Written {
  readonly prompts: number;
  readonly tokens: number;
  /** Whole blocks up to the first mark of a cached prefix; absent without one. */
  readonly markedBlocks?: number | undefined;
}

interface Read {
  readonly fields: Fields;
  readonly write: (hasher: ContentKeys) => Promise<Written>;
}

function parse(input: ParserInput): Checked<ParsedRequest> {
  const json = parseJsonBody(input.bytes);
  if (!json.ok) return json;
  const controls = checkEngineControls(json.value.scan.spans);
  if (!controls.ok) return controls;
  const read = input.path.endsWith("/chat/completions")
    ? readChat(json.value)
    : readCompletion(json.value);
  if (!read.ok) return read;
  const { fields } = read.value;
  const cacheKey = json.value.value["prompt_cache_key"];
  return {
    ok: true,
    value: {
      model: fields.model ?? null,
      isStream: fields.stream === true,
      prepare: (model, tenant) =>
        prepare(input, { scan: json.value.scan, ...read.value }, { model, tenant }),
      ...(typeof cacheKey === "string" ? { promptCacheKey: cacheKey } : {}),
    },
  };
}

async function prepare(
  { path, bytes, headers }: ParserInput,
  { fields, write, scan }: Read & { readonly scan: JsonSpans },
  { model, tenant }: { readonly model: string; readonly tenant: BodyTenant },
): Promise<Prepared> {
  const { salt, edits } = isSalted(fields.cache_salt, tenant)
    ? await saltBody(scan, fields.cache_salt, tenant)
    : UNSALTED;
  const contentRoot = hashContentRoot(salt === undefined ? { model } : { model, salt });
  const hasher = createContentKeys(contentRoot);
  const { prompts, tokens, markedBlocks } = await write(hasher);
  const tokensMax = fields.max_completion_tokens ?? fields.max_tokens ?? null;
  const isRenamed = fields.model !== model;
  const media = hasParts(fields)
    ? await describeMedia(fields.messages ?? [], { headers, salt })
    : undefined;
  return {
    path,
    model,
    isStream: fields.stream === true,
    body: edited(bytes, isRenamed ? [...edits, renameModel(scan, model)] : edits),
    keys: hasher.keys(),
    contentRoot,
    promptTokens: tokens,
    outputTokensMax: tokensMax === null ? null : tokensMax * (fields.n ?? 1) * prompts,
    ...(isRenamed && fields.model !== undefined ? { clientModel: fields.model } : {}),
    ...(markedBlocks === undefined ? {} : { markedBlocks }),
    ...(media === undefined ? {} : { media }),
    ...(salt === undefined ? {} : { cacheSalt: salt }),
  };
}

/** Media are parts of messages; nearly all messages have none. */
function hasParts({ messages = [] }: Fields): boolean {
  return messages.some(({ content }) => typeof content !== "string");
}

/** The bytes themselves where there is no edit. */
function edited(bytes: Uint8Array<ArrayBuffer>, edits: readonly ByteEdit[]) {
  if (edits.length === 0) return bytes;
  return spliceBytes(
    bytes,
    edits.toSorted((a, b) => a.start - b.start),
  );
}

function renameModel(scan: JsonSpans, model: string): ByteEdit {
  const name = JSON.stringify(model);
  const span = scan.spans.get("model");
  if (span === undefined) return insertMember(scan, encoder.encode(`"model":${name}`));
  return { start: span.valueStart, end: span.valueEnd, bytes: encoder.encode(name) };
}

function readChat(json: JsonBody): Checked<Read> {
  const parsed = parseChatRequest(json.value);
  if (!parsed.ok) return parsed;
  const fields = parsed.value;
  const write = async (hasher: ContentKeys) => {
    let markedBlocks: number | undefined;
    const marked = () => {
      markedBlocks ??= Math.floor(hasher.byteCount / CONTENT_BLOCK_BYTES);
    };
    await writeChatPrompt(fields, (piece) => feedPrompt(hasher, piece), sha256Hex, marked);
    const tokens = Math.ceil(hasher.byteCount / BYTES_PER_TOKEN);
    return { prompts: 1, tokens, markedBlocks };
  };
  return { ok: true, value: { fields, write } };
}

function readCompletion(json: JsonBody): Checked<Read> {
  const parsed = parseCompletionRequest(json.value);
  if (!parsed.ok) return parsed;
  const fields = parsed.value;
  const write = async (hasher: ContentKeys) => {
    const counts = writeCompletionPrompt(fields.prompt, (piece) => feedPrompt(hasher, piece));
    const tokens = counts.tokenIds + Math.ceil(counts.chars / BYTES_PER_TOKEN);
    return { prompts: counts.prompts, tokens };
  };
  return { ok: true, value: { fields, write } };
}
