// What an engine remembers of the requests it got: for tests and for people, at /sim/state. Never a
// prompt and never a secret.

import type { IncomingHttpHeaders } from "node:http";

/** Requests remembered; the oldest is forgotten first. */
export const JOURNAL_REQUESTS_MAX = 256;
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

  add(entry: JournalEntry): void {
    if (this.#entries.length >= JOURNAL_REQUESTS_MAX) this.#entries.shift();
    this.#entries.push(entry);
  }
}
