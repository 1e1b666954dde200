// Whether what an isolate tells is what it should be. Isolates are of the same deployment, but perhaps of another
// release: an entry that is not sound is refused alone, and its request is known by its relay's reports.

import { isEdgeTicket, NAMED_TOKENS_MAX, isTicketName } from "../../agents/protocol/ticket-name.ts";
import type { LocalCommit, LocalEnd } from "../../scheduler/edge/contracts.ts";
import { DESTINATIONS_MAX } from "../../scheduler/endpoint-picker.ts";
import { CONTENT_KEYS_MAX } from "../../scheduler/kv/content-keys.ts";
import type { ReleasedBy } from "../tickets/ticket.ts";

/** Of each of a commit's texts. */
export const COMMIT_TEXT_CHARS_MAX = 1_024;
const ATTEMPTS_MAX = 1_000;
/** Longer than any isolate keeps a commit that it could not tell. */
const DECIDED_AGO_MS_MAX = 3_600_000;

export function isSoundCommit(commit: LocalCommit): boolean {
  const { requestId, ticket, tenant, fairnessId, model, keys, endpoints, prefill } = commit;
  const { attempt, priority, weight, decidedAgoMs } = commit;
  return (
    [requestId, ticket, tenant, fairnessId, model].every(isText) &&
    isTicket(ticket) &&
    isCount(attempt, ATTEMPTS_MAX) &&
    Number.isFinite(priority) &&
    weight > 0 &&
    weight < Infinity &&
    isCount(decidedAgoMs, DECIDED_AGO_MS_MAX) &&
    keys instanceof Uint32Array &&
    keys.length <= 2 * CONTENT_KEYS_MAX &&
    keys.length % 2 === 0 &&
    areTokens(commit) &&
    endpoints.length > 0 &&
    areAddresses(endpoints) &&
    (prefill === undefined ||
      (areAddresses(prefill.endpoints) && isCount(prefill.uncachedTokens, NAMED_TOKENS_MAX)))
  );
}

/** Where a request was sent, and how far from here; undefined of a commit that is not sound. */
export function sentFrom(
  sent: LocalCommit,
): { readonly address: string; readonly rttMs: number } | undefined {
  try {
    if (!isSoundCommit(sent)) return undefined;
    return { address: sent.endpoints[0]!, rttMs: Number(sent.terms.rttMs) };
  } catch {
    // A field that this release goes by is missing.
    return undefined;
  }
}

export function isSoundEnd({ ticket, attempt, how }: LocalEnd): boolean {
  return isText(ticket) && isTicket(ticket) && isCount(attempt, ATTEMPTS_MAX) && isHow(how);
}

type LocalHow = ReleasedBy | "left";

const HOWS: ReadonlySet<string> = new Set<LocalHow>([
  "left",
  "cancelled",
  "relay-unreachable",
  "unmetered",
  "refused",
  "hedge-lost",
]);

export function isHow(how: string): how is LocalHow {
  return HOWS.has(how);
}

function isTicket(name: string): boolean {
  return isEdgeTicket(name) && isTicketName(name);
}

function isText(text: unknown): boolean {
  return typeof text === "string" && text.length <= COMMIT_TEXT_CHARS_MAX;
}

function areAddresses(addresses: readonly string[]): boolean {
  return addresses.length <= DESTINATIONS_MAX && addresses.every(isText);
}

function areTokens({ promptTokens, outputTokens, reservedTokens }: LocalCommit): boolean {
  return [promptTokens, outputTokens, reservedTokens].every((count) =>
    isCount(count, 2 * NAMED_TOKENS_MAX),
  );
}

function isCount(value: unknown, max: number): boolean {
  return typeof value === "number" && value >= 0 && value <= max;
}
