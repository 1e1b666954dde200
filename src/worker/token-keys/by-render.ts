// A prompt's tokens, as an engine of the pool renders it: asked for through a relay, for so long and no
// longer. Neither the rendering nor what went wrong with it is ever logged: both hold the prompt.

import {
  ANY_DESTINATION,
  RELAY_ERROR_HEADER,
  RENDER_SUFFIX,
  REQUEST_ID_HEADER,
  STAGE_HEADERS,
  TRACEPARENT_HEADER,
} from "../../agents/protocol/headers.ts";
import {
  type ByteEdit,
  insertMember,
  scanTopLevel,
  spliceBytes,
} from "../../agents/protocol/json-spans.ts";
import { PROTOCOL_LIMITS } from "../../agents/protocol/limits.ts";
import type { RelayConfig } from "../../config/deployment.ts";
import type { RenderPrefixKeys } from "../../config/prefix-keys.ts";
import { formatTraceparent, type TraceContext } from "../../telemetry/traceparent.ts";
import { sha256Hex } from "../crypto.ts";
import { JSON_DEPTH_MAX, JSON_KEYS_MAX } from "../openai/parse-json.ts";
import type { Prepared } from "../parsers/parser.ts";
import { signRequest } from "../upstream/sign.ts";
import { type Tokenized, unkeyed } from "./outcomes.ts";
import { KEYED_TOKENS_MAX } from "./prompt-keys.ts";
import { readBounded } from "./read-bounded.ts";
import { RendererPauses } from "./renderer-pauses.ts";
import { parseRendering } from "./rendering.ts";

export const RENDER_LIMITS = {
  /** Of a request to render; as the relay's. Media are mostly larger, and are given as URLs then. */
  bodyBytesMax: 1024 * 1024,
  /** Of a rendering: a quarter of a million token ids. */
  answerBytesMax: 2 * 1024 * 1024,
  /** Longer prompts, by their estimate, are mostly past what has keys. */
  promptTokensMax: KEYED_TOKENS_MAX,
} as const;
const encoder = new TextEncoder();
const pauses = new RendererPauses();

export interface RenderFacts {
  readonly pool: string;
  readonly relay: RelayConfig;
  readonly tenant: string;
  readonly requestId: string;
  readonly trace: TraceContext;
  /** Aborted when the client leaves. */
  readonly signal: AbortSignal;
}

/** Never rejects. */
export async function renderPrompt(
  prepared: Prepared,
  config: RenderPrefixKeys,
  facts: RenderFacts,
): Promise<Tokenized> {
  const { pool, signal } = facts;
  if (pauses.isPaused(pool, Date.now())) return unkeyed("paused");
  const body = renderBody(prepared, config);
  const isLong = prepared.promptTokens > RENDER_LIMITS.promptTokensMax;
  if (isLong || body.byteLength > RENDER_LIMITS.bodyBytesMax) return unkeyed("too-long");
  const deadline = AbortSignal.timeout(config.timeoutMs);
  const tokenized = await ask(body, prepared.path + RENDER_SUFFIX, {
    ...facts,
    signal: AbortSignal.any([signal, deadline]),
  });
  if (tokenized.ok) pauses.answered(pool);
  else if (signal.aborted) return unkeyed("cancelled");
  else if (tokenized.reason === "unsupported") pauses.unsupported(pool, Date.now());
  else if (tokenized.reason === "failed") {
    pauses.failed(pool, Date.now());
    if (deadline.aborted) return unkeyed("late");
  }
  // What is the prompt's own says nothing of the renderer.
  return tokenized;
}

async function ask(
  body: Uint8Array<ArrayBuffer>,
  path: string,
  facts: RenderFacts,
): Promise<Tokenized> {
  try {
    const { relay, signal } = facts;
    const response = await fetch(`${relay.url.replace(/\/+$/, "")}${path}`, {
      method: "POST",
      headers: await renderHeaders(body, path, facts),
      body,
      signal,
      redirect: "manual",
    });
    const code = response.headers.get(RELAY_ERROR_HEADER);
    if (response.status !== 200 || code !== null) {
      await response.body?.cancel();
      if (code === "not-rendered") return unkeyed("refused");
      // Relays of an earlier release do not know the path.
      const isUnsupported = code === "no-renderer" || code === "bad-path";
      return unkeyed(isUnsupported ? "unsupported" : "failed");
    }
    const bytes = await readBounded(response.body, RENDER_LIMITS.answerBytesMax);
    if (bytes === undefined) return unkeyed("too-long");
    const tokens = parseRendering(bytes);
    return tokens === undefined ? unkeyed("failed") : { ok: true, ...tokens };
  } catch {
    // Refused, reset, unresolved, no TLS, broken off, out of time, or the client left.
    return unkeyed("failed");
  }
}

async function renderHeaders(
  body: Uint8Array<ArrayBuffer>,
  path: string,
  { relay, tenant, requestId, trace }: RenderFacts,
): Promise<Record<string, string>> {
  const key = relay.keys[0]!;
  const signed = await signRequest(
    {
      keyId: key.id,
      method: "POST",
      path,
      tenant,
      // No ticket: a name that is used once.
      ticket: `render.${crypto.randomUUID()}`,
      attempt: 0,
      destinations: ANY_DESTINATION,
      stages: STAGE_HEADERS.map(() => ""),
      expiresAtMs: Date.now() + PROTOCOL_LIMITS.renderSignatureLifetimeMsMax,
      bodySha256: await sha256Hex(body),
    },
    undefined,
    key.secret,
  );
  return {
    "content-type": "application/json",
    accept: "application/json",
    [REQUEST_ID_HEADER]: requestId,
    [TRACEPARENT_HEADER]: formatTraceparent(trace),
    ...Object.fromEntries(signed),
  };
}

/** The body but for an adapter's name, which renderers do not know, and tensors of media, which nobody needs. */
function renderBody(
  { body, model, media }: Prepared,
  { adapters, modelName }: RenderPrefixKeys,
): Uint8Array<ArrayBuffer> {
  const isRenamed = modelName !== undefined && adapters.includes(model);
  if (!isRenamed && media === undefined) return body;
  const scan = scanTopLevel(body, { depthMax: JSON_DEPTH_MAX, keysMax: JSON_KEYS_MAX + 2 });
  if (!scan.ok) return body;
  const edits: ByteEdit[] = [];
  const field = "return_mm_kwargs";
  if (media !== undefined && !scan.spans.has(field)) {
    edits.push(insertMember(scan, encoder.encode(`"${field}":false`)));
  }
  const span = scan.spans.get("model");
  if (isRenamed && span !== undefined) {
    const { valueStart: start, valueEnd: end } = span;
    edits.push({ start, end, bytes: encoder.encode(JSON.stringify(modelName)) });
  }
  return spliceBytes(body, edits);
}
