// From a body's bytes to what the rest of the Worker needs of it: what to forward, and what the
// scheduler may know. The prompt goes no further than here.

import { spliceBytes } from "../../agents/protocol/json-spans.ts";
import {
  BYTES_PER_TOKEN,
  type ContentKeys,
  createContentKeys,
} from "../../scheduler/kv/content-keys.ts";
import type { Tenant } from "../directory-index.ts";
import { saltBody } from "./cache-salt.ts";
import { writeChatPrompt, writeCompletionPrompt } from "./canonical-prompt.ts";
import { checkEngineControls } from "./engine-controls.ts";
import type { Checked } from "./errors.ts";
import { type JsonBody, parseJsonBody } from "./parse-json.ts";
import { feedPrompt } from "./prompt-bytes.ts";
import { parseChatRequest, parseCompletionRequest } from "./schemas.ts";

/** The paths a client may use, which are also the engine's. Nothing else is ever forwarded. */
export const INFERENCE_PATHS = ["/v1/chat/completions", "/v1/completions"] as const;
export type InferencePath = (typeof INFERENCE_PATHS)[number];

/** A request that may be forwarded. */
export interface Prepared {
  readonly path: InferencePath;
  readonly model: string;
  readonly isStream: boolean;
  /** The client's bytes but for the splices: what the engine gets. */
  readonly body: Uint8Array<ArrayBuffer>;
  /** See scheduler/model/inference-request.ts for these three. */
  readonly keys: Uint32Array;
  readonly promptTokens: number;
  readonly outputTokensMax: number | null;
}

/** The fields of either route that count here. */
interface Fields {
  readonly model: string;
  readonly stream?: boolean | null | undefined;
  readonly cache_salt?: string | null | undefined;
  readonly n?: number | null | undefined;
  readonly max_tokens?: number | null | undefined;
  readonly max_completion_tokens?: number | null | undefined;
}

/** What is known of a prompt once it is written. */
interface Written {
  readonly prompts: number;
  readonly tokens: number;
}

interface Read {
  readonly fields: Fields;
  readonly write: (hasher: ContentKeys) => Promise<Written>;
}

/** Checks a body and prepares it for `tenant`. */
export async function prepareInference(
  path: InferencePath,
  bytes: Uint8Array<ArrayBuffer>,
  tenant: Pick<Tenant, "id" | "salt" | "isolated">,
): Promise<Checked<Prepared>> {
  const json = parseJsonBody(bytes);
  if (!json.ok) return json;
  const controls = checkEngineControls(json.value.scan.spans);
  if (!controls.ok) return controls;
  const read = path === "/v1/chat/completions" ? readChat(json.value) : readCompletion(json.value);
  if (!read.ok) return read;
  const { fields, write } = read.value;
  const { model } = fields;
  const { salt, edits } = await saltBody(json.value.scan, fields.cache_salt, tenant);
  const hasher = createContentKeys(salt === undefined ? { model } : { model, salt });
  const { prompts, tokens } = await write(hasher);
  const tokensMax = fields.max_completion_tokens ?? fields.max_tokens ?? null;
  return {
    ok: true,
    value: {
      path,
      model,
      isStream: fields.stream === true,
      body: edits.length === 0 ? bytes : spliceBytes(bytes, edits),
      keys: hasher.keys(),
      promptTokens: tokens,
      outputTokensMax: tokensMax === null ? null : tokensMax * (fields.n ?? 1) * prompts,
    },
  };
}

function readChat(json: JsonBody): Checked<Read> {
  const parsed = parseChatRequest(json.value);
  if (!parsed.ok) return parsed;
  const fields = parsed.value;
  const write = async (hasher: ContentKeys) => {
    await writeChatPrompt(fields, (piece) => feedPrompt(hasher, piece));
    return { prompts: 1, tokens: Math.ceil(hasher.byteCount / BYTES_PER_TOKEN) };
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
