// Reading bodies and sending small answers.

import type { IncomingMessage, ServerResponse } from "node:http";
import { badRequest, bodyTooLarge, encodeError, type EngineError } from "./errors.ts";

/** The body, or undefined when it was too large and the request was refused. */
export async function readBody(
  request: IncomingMessage,
  response: ServerResponse,
  bytesMax: number,
): Promise<Buffer | undefined> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  // Not destroyed on return: that would cut the connection before the refusal has left.
  for await (const chunk of request.iterator({ destroyOnReturn: false })) {
    bytes += (chunk as Buffer).length;
    if (bytes > bytesMax) {
      request.resume();
      response.setHeader("connection", "close");
      sendError(response, bodyTooLarge(bytesMax));
      return undefined;
    }
    chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks);
}

/** The JSON body, or undefined when the request was refused. */
export async function readJson(
  request: IncomingMessage,
  response: ServerResponse,
  bytesMax: number,
): Promise<{ readonly json: unknown } | undefined> {
  const body = await readBody(request, response, bytesMax);
  if (body === undefined) return undefined;
  try {
    return { json: JSON.parse(body.toString("utf8")) as unknown };
  } catch {
    // Reached by a body that is not JSON; the parser's message would repeat some of it.
    sendError(response, badRequest("The request body is not valid JSON."));
    return undefined;
  }
}

export function sendJson(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
}

export function sendError(response: ServerResponse, error: EngineError): void {
  response.writeHead(error.status, { "content-type": "application/json" }).end(encodeError(error));
}
