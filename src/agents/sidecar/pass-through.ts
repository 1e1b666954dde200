// Carries a request that is nothing to split to the engine beside the sidecar, and its answer back, both as
// they are.

import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from "node:http";
import { pipeline } from "node:stream/promises";
import type { Dispatcher } from "undici";
import { STAGE_HEADERS } from "../protocol/headers.ts";
import type { EnginePool } from "../relay/engine-pools.ts";
import { refuse } from "../relay/refusals.ts";

/** About one connection, or set anew for each; stages are nobody's business but the sidecar's. */
const DROPPED: ReadonlySet<string> = new Set([
  "connection",
  "content-length",
  "expect",
  "host",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  ...STAGE_HEADERS,
]);

/** A message's headers that go on; those that `connection` names do not. */
export function passedHeaders(headers: IncomingHttpHeaders): Record<string, string> {
  const named = (headers.connection ?? "").split(",").map((name) => name.trim().toLowerCase());
  const passed = Object.entries(headers).flatMap(([name, value]) => {
    if (value === undefined || DROPPED.has(name) || named.includes(name)) return [];
    return [[name, Array.isArray(value) ? value.join(", ") : value] as const];
  });
  return Object.fromEntries(passed);
}

/** Never rejects. */
export async function passThrough(
  pool: EnginePool,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const gone = new AbortController();
  response.once("close", () => gone.abort());
  const hasBody =
    request.headers["content-length"] !== undefined ||
    request.headers["transfer-encoding"] !== undefined;
  try {
    const answer = await pool.dispatcher.request({
      method: (request.method ?? "GET") as Dispatcher.HttpMethod,
      path: request.url ?? "/",
      headers: passedHeaders(request.headers),
      body: hasBody ? request : null,
      signal: gone.signal,
    });
    pool.hasAnswered = true;
    for (const [name, value] of Object.entries(passedHeaders(answer.headers))) {
      response.setHeader(name, value);
    }
    // Cookies cannot be joined, and a HEAD's length is of a body that is not there.
    for (const name of ["content-length", "set-cookie"] as const) {
      const value = answer.headers[name];
      if (value !== undefined) response.setHeader(name, value);
    }
    response.writeHead(answer.statusCode);
    await pipeline(answer.body, response);
  } catch {
    // The engine was lost, or the client has gone.
    if (response.headersSent || response.destroyed) response.destroy();
    else refuse(response, "engine-down");
  }
}
