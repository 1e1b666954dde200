// An engine's answer on its way to the client. Bodies are piped natively: no JavaScript a chunk.

import {
  FAIRLEAD_ATTEMPTS_HEADER,
  FAIRLEAD_ENDPOINT_HEADER,
  FAIRLEAD_QUEUE_HEADER,
} from "../../agents/protocol/headers.ts";
import { type Call, writeRequestIds } from "../call.ts";
import { type ApiError, errorEvent } from "../openai/errors.ts";

/** Headers of an engine's answer that a client may see. */
const ANSWER_HEADERS = ["content-type", "retry-after", "retry-after-ms"] as const;

const LOST: ApiError = {
  code: "upstream_lost",
  message: "The connection to the engine was lost before the answer was complete. Send it again.",
  param: null,
};

export type StreamEnd = "complete" | "lost" | "client-left";

export interface ClientAnswer {
  readonly response: Response;
  /** When nothing more will be sent. Never rejects. */
  readonly ended: Promise<StreamEnd>;
}

export interface AnswerOptions {
  /** Undefined: not to be told. */
  readonly exposedEndpoint: string | undefined;
  readonly call: Call;
  /** At least 1. */
  readonly endpointsTried: number;
  /** Undefined: it has not waited. */
  readonly queueMs: number | undefined;
  /** Of the grant's plugins; see grant-headers.ts. */
  readonly grantHeaders: Readonly<Record<string, string>>;
}

/** The client's view of an engine's answer: new headers, the same body. */
export function answerClient(answer: Response, options: AnswerOptions): ClientAnswer {
  // Set one by one: names that are computed make a literal slow.
  const headers: Record<string, string> = { ...options.grantHeaders };
  headers["cache-control"] = "no-store";
  headers[FAIRLEAD_ATTEMPTS_HEADER] = String(options.endpointsTried);
  writeRequestIds(headers, options.call);
  if (options.queueMs !== undefined) headers[FAIRLEAD_QUEUE_HEADER] = String(options.queueMs);
  for (const name of ANSWER_HEADERS) {
    const value = answer.headers.get(name);
    if (value !== null) headers[name] = value;
  }
  if (options.exposedEndpoint !== undefined) {
    headers[FAIRLEAD_ENDPOINT_HEADER] = options.exposedEndpoint;
  }
  const { status, body } = answer;
  const isStream = (headers["content-type"] ?? "").startsWith("text/event-stream");
  if (!isStream || body === null) {
    return {
      response: new Response(body, { status, headers }),
      ended: Promise.resolve("complete"),
    };
  }
  const { readable, writable } = new IdentityTransformStream();
  return {
    response: new Response(readable, { status, headers }),
    ended: pipeEvents(body, writable, options.call.requestId),
  };
}

/** Pipes an event stream; one that breaks off ends with an error event and without `[DONE]`. */
async function pipeEvents(
  body: ReadableStream<Uint8Array>,
  writable: WritableStream<Uint8Array>,
  requestId: string,
): Promise<StreamEnd> {
  try {
    await body.pipeTo(writable, { preventAbort: true, preventClose: true });
    await writable.close();
    return "complete";
  } catch {
    // Either side broke. If it was the client's, the event cannot be written either.
  }
  try {
    const writer = writable.getWriter();
    await writer.write(new TextEncoder().encode(errorEvent(LOST, requestId)));
    await writer.close();
    return "lost";
  } catch {
    return "client-left";
  }
}
