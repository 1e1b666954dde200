// The payload of a TICKETS frame as nearly all of them are, checked by hand. Each request is reported, and zod
// cannot compile its schemas inside workerd: there it took as long as all that is done with the report.
//
// What is taken here, the schema takes and leaves as it is; what is not, is the schema's to judge. So this file
// says nothing of its own about the protocol, and knows neither prefills nor what became of them.

import { HOST_PORT } from "./host-port.ts";
import { PROTOCOL_LIMITS } from "./limits.ts";
import { CLOSED_OUTCOMES, type NumberedReports } from "./messages.ts";

/** Members of an `opened`, and of a `closed`, that are always there. */
const OPENED_COUNT = 4;
const CLOSED_COUNT = 13;
const FINISH_REASON_CHARS_MAX = 64;
const OUTCOMES: ReadonlySet<unknown> = new Set(CLOSED_OUTCOMES);

type Members = Readonly<Record<string, unknown>>;

/** `payload`: what JSON.parse gave. False: the schema knows. */
export function arePlainReports(payload: unknown): payload is NumberedReports {
  if (!isObject(payload)) return false;
  const { oldest, first, reports } = payload;
  if (!isCount(oldest) || !isCount(first) || oldest < 1 || oldest > first) return false;
  if (!Array.isArray(reports) || reports.length > PROTOCOL_LIMITS.ticketReportsMax) return false;
  return Object.keys(payload).length === 3 && reports.every(isPlain);
}

function isPlain(report: unknown): boolean {
  if (!isObject(report)) return false;
  const { kind, ticket, attempt, endpoint } = report;
  const isNamed = isText(ticket, PROTOCOL_LIMITS.ticketCharsMax) && ticket !== "";
  if (!isNamed || !isCount(attempt) || !isHostPort(endpoint)) return false;
  const subjectCount = countSubject(report);
  if (subjectCount === undefined) return false;
  const count = Object.keys(report).length - subjectCount;
  if (kind === "opened") return count === OPENED_COUNT;
  return kind === "closed" && count === CLOSED_COUNT && isPlainEnd(report);
}

/** How many of its members are there; undefined where one is not what it should be. */
function countSubject({ requestId, tenant, model }: Members): number | undefined {
  const { requestIdCharsMax, labelCharsMax } = PROTOCOL_LIMITS;
  const isFitting =
    (requestId === undefined || isText(requestId, requestIdCharsMax)) &&
    (tenant === undefined || isText(tenant, labelCharsMax)) &&
    (model === undefined || isText(model, labelCharsMax));
  if (!isFitting) return undefined;
  return (
    Number(requestId !== undefined) + Number(tenant !== undefined) + Number(model !== undefined)
  );
}

function isPlainEnd(report: Members): boolean {
  const { outcome, status, ttftMs, durationMs, finishReason, failed } = report;
  const { promptTokens, cachedTokens, completionTokens } = report;
  return (
    OUTCOMES.has(outcome) &&
    (status === null || Number.isSafeInteger(status)) &&
    (ttftMs === null || isDuration(ttftMs)) &&
    isDuration(durationMs) &&
    (promptTokens === null || isCount(promptTokens)) &&
    (cachedTokens === null || isCount(cachedTokens)) &&
    (completionTokens === null || isCount(completionTokens)) &&
    (finishReason === null || isText(finishReason, FINISH_REASON_CHARS_MAX)) &&
    Array.isArray(failed) &&
    failed.length <= PROTOCOL_LIMITS.destinationsMax &&
    failed.every(isHostPort)
  );
}

function isObject(value: unknown): value is Members {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isText(value: unknown, charsMax: number): value is string {
  return typeof value === "string" && value.length <= charsMax;
}

function isHostPort(value: unknown): boolean {
  return typeof value === "string" && HOST_PORT.test(value);
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function isDuration(value: unknown): boolean {
  return Number.isFinite(value) && (value as number) >= 0;
}
