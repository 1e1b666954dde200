// What an engine remembers of the requests it got: for tests and for people, at /sim/state. Never a
// prompt and never a secret.

import { randomUUID } from "node:crypto";
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from "node:http";
import { parseTraceparent } from "../../telemetry/traceparent.ts";

/** Requests remembered; the oldest is forgotten first. */
export const JOURNAL_REQUESTS_MAX = 256;
const REQUEST_ID_CHARS_MAX = 256;
/** Header values are cut to this length. */
const HEADER_CHARS_MAX = 512;

/** How a request ended. */
type RequestOutcome = "open" | "finished" | "refused" | "aborted";

/** One request to the inference API. */
export interface JournalEntry {
  readonly path: string;
  readonly requestId: string;
  readonly traceId: string | undefined;
  readonly headers: Readonly<Record<string, string>>;
  readonly receivedAtMs: number;
  outcome: RequestOutcome;
  status: number;
  promptTokens: number;
  cachedTokens: number;
  outputTokens: number;
  /** Which of two engines this one was, where two share the request. */
  leg: "prefill" | "decode" | undefined;
  /** Prompt tokens that were read from the other one. */
  receivedTokens: number;
  /** Kind of the injected failure, if any. */
  failure: string | undefined;
}

const SECRET_HEADER = /authorization|cookie|token|secret|key|signature|password/;

/** Headers as text, with the values of those that may carry a secret left out. */
export function redactHeaders(headers: IncomingHttpHeaders): Record<string, string> {
  const shown: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers)) {
    const text = Array.isArray(value) ? value.join(", ") : (value ?? "");
    shown[name] = SECRET_HEADER.test(name) ? "[redacted]" : text.slice(0, HEADER_CHARS_MAX);
  }
  return shown;
}

/** The latest requests, oldest first. */
export class RequestJournal {
  readonly #entries: JournalEntry[] = [];

  get entries(): readonly JournalEntry[] {
    return this.#entries;
  }

  /** Notes a request, and tells when it has ended. */
  record(
    request: IncomingMessage,
    response: ServerResponse,
    ended: (entry: JournalEntry) => void,
  ): JournalEntry {
    const entry = entryOf(request);
    if (this.#entries.length >= JOURNAL_REQUESTS_MAX) this.#entries.shift();
    this.#entries.push(entry);
    response.on("close", () => {
      entry.status = response.headersSent ? response.statusCode : 0;
      if (entry.outcome === "open") entry.outcome = entry.status >= 400 ? "refused" : "aborted";
      // After every listener of this event: startGeneration's fills in the tokens.
      queueMicrotask(() => ended(entry));
    });
    return entry;
  }
}

function entryOf(request: IncomingMessage): JournalEntry {
  const given = request.headers["x-request-id"];
  const requestId = typeof given === "string" ? given.slice(0, REQUEST_ID_CHARS_MAX) : "";
  const traceparent = request.headers["traceparent"];
  return {
    path: request.url!.split("?", 1)[0]!,
    requestId: requestId === "" ? randomUUID().replaceAll("-", "") : requestId,
    traceId: parseTraceparent(typeof traceparent === "string" ? traceparent : undefined)?.traceId,
    headers: redactHeaders(request.headers),
    receivedAtMs: Date.now(),
    outcome: "open",
    status: 0,
    promptTokens: 0,
    cachedTokens: 0,
    outputTokens: 0,
    leg: undefined,
    receivedTokens: 0,
    failure: undefined,
  };
}
