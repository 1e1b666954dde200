// Keys of tokens in place of content keys, for pools that ask for them: the prompt is tokenized before its
// pool's object is asked. A prompt that cannot be, or not in time, goes on without keys: it is sent where
// there is room, and never refused for it.

import type { TokenPrefixKeys } from "../../config/prefix-keys.ts";
import { METRIC } from "../../telemetry/names.ts";
import { scanTopLevel } from "../../agents/protocol/json-spans.ts";
import { metrics } from "../metrics.ts";
import { JSON_DEPTH_MAX, JSON_KEYS_MAX } from "../openai/parse-json.ts";
import type { Prepared } from "../parsers/parser.ts";
import { type EdgeFacts, tokenizeAtEdge } from "./by-edge.ts";
import { type RenderFacts, renderPrompt } from "./by-render.ts";
import type { PromptTokens, Tokenized } from "./outcomes.ts";
import { promptTokenKeys } from "./prompt-keys.ts";
import { parseTokenIds } from "./rendering.ts";

export type TokenKeyFacts = RenderFacts & EdgeFacts;

const NO_KEYS = new Uint32Array();

/** The request with keys of its tokens, or with none. Never rejects. */
export async function keyByTokens(
  prepared: Prepared,
  config: TokenPrefixKeys,
  facts: TokenKeyFacts,
): Promise<Prepared> {
  const tokenized = givenTokens(prepared) ?? (await tokenize(prepared, config, facts));
  metrics.inc(METRIC.tokenKeysTotal, {
    by: config.by,
    outcome: tokenized.ok ? "keyed" : tokenized.reason,
  });
  // Nobody learns what content became where content has no keys.
  const { contentRoot: _, ...rest } = prepared;
  if (!tokenized.ok) return { ...rest, keys: NO_KEYS };
  return { ...rest, ...keyed(prepared, config, tokenized) };
}

async function tokenize(
  prepared: Prepared,
  config: TokenPrefixKeys,
  facts: TokenKeyFacts,
): Promise<Tokenized> {
  return config.by === "render"
    ? renderPrompt(prepared, config, facts)
    : tokenizeAtEdge(prepared, config, facts);
}

function keyed(
  { model, cacheSalt, promptTokens }: Prepared,
  { adapters, blockSizeTokens }: TokenPrefixKeys,
  { tokens, media, isWhole }: PromptTokens,
): Pick<Prepared, "keys" | "promptTokens"> {
  const adapter = adapters.includes(model) ? model : null;
  return {
    keys: promptTokenKeys({ tokens, media, adapter, salt: cacheSalt, blockSizeTokens }),
    promptTokens: isWhole ? tokens.length : promptTokens,
  };
}

/** Of a completion whose prompt is token ids, or lists of them: nobody has to be asked. */
function givenTokens({ path, body }: Prepared): Tokenized | undefined {
  if (path.endsWith("/chat/completions")) return undefined;
  const scan = scanTopLevel(body, { depthMax: JSON_DEPTH_MAX, keysMax: JSON_KEYS_MAX + 1 });
  const span = scan.ok ? scan.spans.get("prompt") : undefined;
  if (span === undefined || body[span.valueStart] !== "[".charCodeAt(0)) return undefined;
  const text = new TextDecoder().decode(body.subarray(span.valueStart, span.valueEnd));
  const prompt = JSON.parse(text) as unknown[];
  const tokens = parseTokenIds(Array.isArray(prompt[0]) ? prompt[0] : prompt);
  return tokens === undefined ? undefined : { ok: true, tokens, media: [], isWhole: true };
}
