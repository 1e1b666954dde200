// One request to render a prompt: judge, read, ask, pass the answer on. No ticket is opened for it and
// nothing is reported: it is no load that an object knows of. Nor does it take anything that requests to be
// served are bounded by. What it carries is never logged.

import type { IncomingMessage, ServerResponse } from "node:http";
import type { Dispatcher } from "undici";
import { pipeline } from "node:stream/promises";
import type { MetricRegistry } from "../../../telemetry/metrics.ts";
import { METRIC } from "../../../telemetry/names.ts";
import { RENDER_PATHS } from "../../protocol/headers.ts";
import { admitRender } from "../admission.ts";
import { refuse, type RefusalCode } from "../refusals.ts";
import type { RelayKeys } from "../relay-keys.ts";
import { readBody } from "../request-body.ts";
import { RENDERED, UsedTickets } from "../used-tickets.ts";
import { RENDER_LIMITS, type Renderer } from "./renderer.ts";

/** A refused request's body is read to its end if it is at most this long; else the socket closes. */
const DISCARD_BYTES_MAX = RENDER_LIMITS.bodyBytesMax;

/** Statuses by which an engine refuses what it is asked, and would refuse nobody else for it. */
const PROMPTS_OWN: ReadonlySet<number> = new Set([400, 413, 415, 422]);
/** What engines say where they have no such path: FastAPI as a `detail`, or a handler around it as an error's message. */
const NOT_FOUND = "Not Found";
const NOT_FOUND_BYTES_MAX = 256;

/** How a request to render ended. A metric label. */
type RenderOutcome = RefusalCode | "rendered" | "broken-off";

export interface RenderContext {
  readonly keys: RelayKeys;
  readonly renderer: Pick<Renderer, "ask">;
  readonly registry: MetricRegistry;
}

export function isRenderPath(path: string | undefined): boolean {
  return path !== undefined && RENDER_PATHS.includes(path);
}

export class RenderServer {
  readonly #context: RenderContext;
  readonly #rendersMax: number;
  readonly #used = new UsedTickets(RENDERED);
  #renders = 0;

  constructor(context: RenderContext, rendersMax: number = RENDER_LIMITS.rendersMax) {
    this.#context = context;
    this.#rendersMax = rendersMax;
  }

  /** Serves one request to its end. Never rejects. */
  async serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const outcome = await this.#serve(request, response);
    this.#context.registry.inc(METRIC.relayRendersTotal, { outcome });
    if (outcome === "rendered") return;
    if (response.headersSent || response.destroyed) {
      response.destroy();
      return;
    }
    const isRead = request.complete;
    if (!isRead && announcedBytes(request) <= DISCARD_BYTES_MAX) request.resume();
    else if (!isRead) response.shouldKeepAlive = false;
    refuse(response, outcome === "broken-off" ? "exhausted" : outcome);
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<RenderOutcome> {
    const { keys } = this.#context;
    const head = {
      method: request.method ?? "",
      path: request.url ?? "",
      headers: request.headers,
    };
    const admitted = admitRender(head, { keys, nowMs: Date.now() });
    if (!admitted.ok) return admitted.code;
    const { ticket, attempt, bodySha256 } = admitted.signed;
    const size = announcedBytes(request);
    if (size > RENDER_LIMITS.bodyBytesMax) return "too-large";
    if (this.#renders >= this.#rendersMax) return "busy";
    this.#renders++;
    try {
      const body = await readBody(request, size);
      if (!body.ok) return body.reason === "too-large" ? "too-large" : "broken-off";
      if (body.sha256 !== bodySha256) return "body-changed";
      const use = this.#used.use(ticket, attempt, Date.now());
      if (use !== "used") return use === "full" ? "busy" : "replayed";
      return await this.#render({ path: head.path, bytes: body.bytes }, response);
    } finally {
      this.#renders--;
    }
  }

  async #render(
    { path, bytes }: { readonly path: string; readonly bytes: Uint8Array },
    response: ServerResponse,
  ): Promise<RenderOutcome> {
    const left = new AbortController();
    response.once("close", () => left.abort());
    const answer = await this.#context.renderer.ask({
      path,
      body: bytes,
      headers: { "content-type": "application/json", accept: "application/json" },
      signal: AbortSignal.any([left.signal, AbortSignal.timeout(RENDER_LIMITS.answerMsMax)]),
    });
    if (answer === undefined) return response.destroyed ? "broken-off" : "exhausted";
    try {
      if (answer.statusCode !== 200) return await whyNot(answer);
      response.writeHead(200, { "content-type": "application/json" });
      await pipeline(answer.body, response);
      return "rendered";
    } catch {
      // The engine broke off or said too much, or nobody waits for the answer any more.
      return "broken-off";
    }
  }
}

/** What an answer other than a 200 says of the renderer, or of the prompt alone. */
async function whyNot({ statusCode, body }: Dispatcher.ResponseData): Promise<RenderOutcome> {
  if (statusCode === 404) return (await isPathUnknown(body)) ? "no-renderer" : "not-rendered";
  // An engine's words on it may repeat the prompt.
  await body.dump();
  if (statusCode === 405 || statusCode === 501) return "no-renderer";
  return PROMPTS_OWN.has(statusCode) ? "not-rendered" : "exhausted";
}

/** Whether a 404 is of the path. vLLM says it of a model, too, that it does not serve. */
async function isPathUnknown(body: Dispatcher.ResponseData["body"]): Promise<boolean> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of body as AsyncIterable<Buffer>) {
    size += chunk.byteLength;
    if (size > NOT_FOUND_BYTES_MAX) return false;
    chunks.push(chunk);
  }
  try {
    const said: unknown = JSON.parse(Buffer.concat(chunks, size).toString("utf8"));
    if (!isObject(said)) return false;
    const { detail, error } = said;
    return (isObject(error) ? error["message"] : detail) === NOT_FOUND;
  } catch {
    // Not JSON.
    return false;
  }
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null;
}

/** The size of the body as its sender announced it; the most allowed if it did not. */
function announcedBytes({ headers }: IncomingMessage): number {
  const length = headers["content-length"];
  return length === undefined ? RENDER_LIMITS.bodyBytesMax : Number(length);
}
