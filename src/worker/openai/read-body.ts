// A request's body into memory, within a limit.

import type { Checked } from "./errors.ts";
import { refuse } from "./errors.ts";

/**
 * What is read and thrown away of a body past its limit. Most clients read an answer only after they
 * have sent everything; without this they would see a broken connection in place of the 413.
 */
const DISCARDED_BYTES_MAX = 32 * 1024 * 1024;

/** The body's bytes. One over the limit is refused and never held. */
export async function readBody(
  request: Request,
  bodyBytesMax: number,
): Promise<Checked<Uint8Array<ArrayBuffer>>> {
  if (!isJson(request.headers.get("content-type"))) {
    return refuse("unsupported_media_type", "Send the body as `Content-Type: application/json`.");
  }
  const encoding = request.headers.get("content-encoding") ?? "identity";
  if (encoding.toLowerCase() !== "identity") {
    return refuse("unsupported_media_type", "Send the body without a Content-Encoding.");
  }
  const declaredBytes = Number(request.headers.get("content-length") ?? Number.NaN);
  try {
    if (declaredBytes > bodyBytesMax || Number.isNaN(declaredBytes)) {
      return await collect(request.body, bodyBytesMax);
    }
    return { ok: true, value: new Uint8Array(await request.arrayBuffer()) };
  } catch {
    // The client left, or its connection broke, before it had sent everything.
    return refuse("client_closed_request", "The body ended before it was complete.");
  }
}

/** `application/json`, with UTF-8 or no charset at all. */
function isJson(contentType: string | null): boolean {
  return /^application\/json\s*(;\s*charset="?utf-8"?\s*)?$/i.test(contentType?.trim() ?? "");
}

/** For bodies of unknown or too great a length. */
async function collect(
  body: ReadableStream<Uint8Array> | null,
  bytesMax: number,
): Promise<Checked<Uint8Array<ArrayBuffer>>> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  const reader = body?.getReader();
  while (reader !== undefined) {
    const { value, done } = await reader.read();
    if (done) break;
    size += value.byteLength;
    if (size <= bytesMax) chunks.push(value);
    else chunks.length = 0;
    if (size > bytesMax + DISCARDED_BYTES_MAX) {
      await reader.cancel();
      break;
    }
  }
  if (size > bytesMax) {
    return refuse("request_too_large", `The body is too large: at most ${bytesMax} bytes.`);
  }
  const bytes = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.byteLength;
  }
  return { ok: true, value: bytes };
}
