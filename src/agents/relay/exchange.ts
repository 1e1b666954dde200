// One request through the relay: judge, read, walk, forward, report.

import type { IncomingMessage, ServerResponse } from "node:http";
import { METRIC } from "../../telemetry/names.ts";
import type { MetricRegistry } from "../../telemetry/metrics.ts";
import type { Logger } from "../process/logger.ts";
import {
  FAIRLEAD_ATTEMPTS_HEADER,
  REQUEST_ID_HEADER,
  TRACEPARENT_HEADER,
} from "../protocol/headers.ts";
import { PROTOCOL_LIMITS } from "../protocol/limits.ts";
import type { TicketClosed } from "../protocol/messages.ts";
import { decodeModelName } from "../protocol/model-name.ts";
import { shardOfRequest } from "../protocol/request-shard.ts";
import { admit, type Admitted } from "./admission.ts";
import { send, type Sent } from "./disaggregation/send.ts";
import type { SplitContext, StageFacts } from "./disaggregation/split-request.ts";
import type { EndSignals } from "./end-signals.ts";
import type { Carried, Evictions } from "./evictions.ts";
import { forwardAnswer, sendKept, type Forwarded } from "./forward.ts";
import { prepareBody, type PreparedBody } from "./include-usage.ts";
import { readContentFacts } from "./learning/content-facts.ts";
import type { Lesson } from "./learning/lesson.ts";
import type { PromptLearner } from "./learning/prompt-learner.ts";
import { ModelNames } from "./model-names.ts";
import { refuse, refusalStatus, type RefusalCode } from "./refusals.ts";
import type { RelayKeys } from "./relay-keys.ts";
import { BodyLoan, readOnLoan } from "./request-body.ts";
import type { ShardReports } from "./shard-reports.ts";
import type { TicketSubject } from "./ticket-outbox.ts";
import { startRelaySpan, type RelaySpan } from "./tracing.ts";
import { UNKNOWN_USAGE } from "../protocol/answer-usage.ts";
import type { UsedTickets } from "./used-tickets.ts";

/** A refused request's body is read to its end if it is at most this long; else the socket closes. */
const DISCARD_BYTES_MAX = 1024 * 1024;

/** What all requests of a relay share. */
export interface RelayContext extends SplitContext {
  readonly keys: RelayKeys;
  readonly used: UsedTickets;
  readonly evictions: Evictions;
  readonly reports: Pick<ShardReports, "opened" | "prefilled" | "closed" | "begun" | "ended">;
  /** Absent: nobody wants to know what content becomes. */
  readonly learner?: Pick<PromptLearner, "begin">;
  readonly bodyBytesMax: number;
  readonly headHeldMsMax: number;
  readonly logger: Logger;
  readonly registry: MetricRegistry;
  /** All are aborted when the relay has drained long enough: what is still open ends now. */
  readonly signals: EndSignals;
}

/** A request that was admitted, while it is carried. */
interface Exchange {
  readonly context: RelayContext;
  readonly admitted: Admitted;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly requestId: string;
  readonly span: RelaySpan;
  readonly startedAtMs: number;
  readonly carried: Carried;
  /** Aborted when the client has gone, the request was evicted, or the relay stops. */
  readonly signal: AbortSignal;
}

/** How an exchange ended, for the report, the log and the metrics. */
interface Ending extends Omit<Forwarded, "outcome"> {
  readonly outcome: TicketClosed["outcome"];
  readonly status: number | null;
  readonly ttftMs: number | null;
  /** The relay's own refusal, which stands for the outcome in the metrics. */
  readonly refusal?: RefusalCode;
}

interface Reported extends Ending {
  readonly walked: Sent["walked"];
  /** Where the request was to be split. */
  readonly stages: StageFacts | undefined;
}

/** Serves one request to its end. Never rejects. */
export async function serveRequest(
  context: RelayContext,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const startedAtMs = performance.now();
  const head = { method: request.method ?? "", path: request.url ?? "", headers: request.headers };
  // From an edge that measures how far it is. It is no mistake, so it is neither logged nor counted.
  if (head.method === "HEAD") return void response.writeHead(204).end();
  const isKnown = (address: string) => context.pools.get(address) !== undefined;
  const admitted = admit(head, { keys: context.keys, isKnown, nowMs: Date.now() });
  if (!admitted.ok) return refuseUnread(context, request, response, admitted.code);
  const { ticket, attempt } = admitted.signed;
  if (context.used.has(ticket, attempt, Date.now())) {
    return refuseUnread(context, request, response, "replayed");
  }
  const requestId = readRequestId(request);
  const carried = context.evictions.enter(admitted.signed, shardOfRequest(requestId));
  let ended: AbortController | undefined;
  const loan = new BodyLoan(context.budget);
  const release = () => loan.release();
  try {
    const body = await readOnLoan(request, context.bodyBytesMax, loan);
    if (!body.ok) {
      if (body.reason !== "cancelled") refuseUnread(context, request, response, body.reason);
      return;
    }
    const verdict = useTicket(context, admitted, body.sha256);
    if (verdict !== undefined) return refuseRead(context, response, verdict);
    ended = openSignal(context.signals, response, carried);
    const exchange: Exchange = {
      context,
      admitted,
      request,
      response,
      requestId,
      span: startRelaySpan(head.path, head.headers),
      startedAtMs,
      carried,
      signal: ended.signal,
    };
    await carry(exchange, { ...prepareBody(body.bytes), release });
  } finally {
    if (ended !== undefined) context.signals.close(ended);
    context.evictions.leave(carried);
    release();
  }
}

/** Checks the body and uses the ticket up, in one step so that two copies cannot both pass. */
function useTicket(
  context: RelayContext,
  admitted: Admitted,
  sha256: string,
): RefusalCode | undefined {
  if (sha256 !== admitted.signed.bodySha256) return "body-changed";
  const { ticket, attempt } = admitted.signed;
  const use = context.used.use(ticket, attempt, Date.now());
  if (use === "used") return undefined;
  return use === "full" ? "busy" : "replayed";
}

function openSignal(
  signals: EndSignals,
  response: ServerResponse,
  carried: Carried,
): AbortController {
  const ended = signals.open();
  response.once("close", () => {
    if (!response.writableFinished) ended.abort();
  });
  carried.onEvicted(() => ended.abort());
  return ended;
}

async function carry(exchange: Exchange, body: PreparedBody & { release(): void }): Promise<void> {
  const { context, admitted, span } = exchange;
  const subject = subjectOf(exchange, body.model);
  for (let i = 0; i < admitted.offListCount; i++) {
    context.registry.inc(METRIC.relayAttemptsTotal, { outcome: "off-list" });
  }
  for (const stage of admitted.stages.unknown) {
    context.registry.inc(METRIC.relayStageOffListTotal, { stage });
  }
  const { ticket, attempt } = admitted.signed;
  let tried = "";
  const sent = await send(context, {
    path: admitted.signed.path,
    body: body.bytes,
    headers: engineHeaders(exchange),
    destinations: admitted.destinations,
    stages: admitted.stages,
    signal: exchange.signal,
    headHeldMsMax: context.headHeldMsMax,
    startPhase: (name) => span.startPhase(name),
    onTry(endpoint) {
      const isFirst = tried === "" && endpoint === admitted.destinations[0];
      const isExpected = isFirst && admitted.offListCount === 0;
      if (tried !== endpoint) context.reports.opened(subject, endpoint, isExpected);
      tried = endpoint;
    },
    onAttempt: (outcome) => context.registry.inc(METRIC.relayAttemptsTotal, { outcome }),
    onPrefilled({ endpoint, outcome, durationMs, usage, isLast }) {
      const { promptTokens, cachedTokens } = usage;
      const counts = { durationMs: toTenth(durationMs), promptTokens, cachedTokens };
      context.reports.prefilled(subject.requestId, {
        kind: "prefilled",
        ticket,
        attempt,
        endpoint,
        outcome,
        isLast,
        ...counts,
      });
    },
  });
  const ending = await answer(exchange, sent, body);
  // Not before: the client of the engine keeps the body as long as the answer comes.
  body.release();
  const stages = await sent.end();
  const closed = report(exchange, subject, { ...ending, walked: sent.walked, stages });
  span.end({ ...ending, ...closed, model: body.model, usage: ending.usage, stages });
}

/** What every report of the request names. A name past its bound would end the session. */
function subjectOf({ admitted, requestId }: Exchange, model: string | null): TicketSubject {
  const { ticket, attempt, tenant } = admitted.signed;
  const isNamed = model !== null && model.length <= PROTOCOL_LIMITS.labelCharsMax;
  return { ticket, attempt, requestId, tenant, model: isNamed ? model : "" };
}

/** Gives the client what the walk found. */
async function answer(exchange: Exchange, sent: Sent, body: PreparedBody): Promise<Ending> {
  const { response, carried } = exchange;
  const { walked } = sent;
  const names = modelNames(exchange, body.model);
  const nothing = { usage: UNKNOWN_USAGE, finishReason: null, status: null, ttftMs: null };
  const { result, triedCount } = walked;
  // Those that an engine gave have it in their head.
  const isEngines = result.kind === "answered" || (result.kind === "exhausted" && result.kept);
  if (!isEngines || carried.isEvicted) response.setHeader(FAIRLEAD_ATTEMPTS_HEADER, triedCount);
  if (carried.isEvicted) {
    // An answer that came at the same moment is not wanted any more.
    if (result.kind === "answered") result.answer.body.on("error", () => undefined).destroy();
    if (!response.destroyed) refuse(response, "evicted", carried.retryAfterMs);
    return { ...nothing, outcome: "cancelled", refusal: "evicted" };
  }
  switch (result.kind) {
    case "answered": {
      let ttftMs: number | null = null;
      let lesson: Lesson | undefined;
      carried.hasBegun = true;
      exchange.context.reports.begun(carried);
      const forwarded = await forwardAnswer(result.answer, response, {
        endpoint: walked.endpoint,
        triedCount,
        isUsageAdded: body.isUsageAdded,
        names,
        cachedTokens: sent.cachedTokens,
        requestId: exchange.requestId,
        signal: exchange.signal,
        onFirstByte() {
          ttftMs = elapsedMs(exchange);
          sent.onFirstByte();
          if (result.answer.statusCode === 200) {
            lesson = beginLesson(exchange, walked.endpoint, body.bytes);
          }
        },
        onEngineBytes: (chunk) => lesson?.keep(chunk),
      });
      const { completionTokens } = forwarded.usage;
      lesson?.end({ isWhole: forwarded.outcome === "ok", completionTokens });
      return { ...forwarded, status: result.answer.statusCode, ttftMs };
    }
    case "exhausted":
      if (result.kept !== undefined) {
        sendKept(result.kept, response, { names, triedCount });
        return { ...nothing, outcome: "engine-error", status: result.kept.status };
      }
      refuse(response, "exhausted");
      return { ...nothing, outcome: "unreachable" };
    case "unpaired":
      refuse(response, "no-prefill");
      return { ...nothing, outcome: "unreachable", refusal: "no-prefill" };
    case "timeout":
      refuse(response, "engine-timeout");
      return { ...nothing, outcome: "engine-error" };
    case "cancelled":
      // A client that is still there is told; for one that has gone, this does nothing.
      if (!response.destroyed) refuse(response, "stopping");
      return { ...nothing, outcome: "cancelled" };
  }
}

/** The engine that answers has the prompt, and then the answer: it can tell what their content became. */
function beginLesson(
  { context, admitted, request }: Exchange,
  endpoint: string,
  body: Uint8Array,
): Lesson | undefined {
  const { learner, keys, pools } = context;
  const key = keys.get(admitted.signed.keyId);
  const origin = pools.get(endpoint)?.origin;
  if (learner === undefined || key === undefined || origin === undefined) return undefined;
  const facts = readContentFacts(request.headers, key);
  const lesson = learner.begin({ endpoint: origin, path: admitted.signed.path, body, facts });
  // What was decoded in chunks, each of them its own prompt, is the chunks' answer, not the engine's.
  if (context.decodeChunkTokens !== undefined) lesson?.drop("unfit");
  return lesson;
}

/** What puts the client's name of the model into the answer; undefined where both are one. */
function modelNames({ admitted }: Exchange, engineName: string | null): ModelNames | undefined {
  const { clientModel } = admitted.signed;
  const clientName = clientModel === undefined ? undefined : decodeModelName(clientModel);
  if (clientName === undefined || engineName === null || clientName === engineName) {
    return undefined;
  }
  return new ModelNames(engineName, clientName);
}

/** Reports, counts and logs how the exchange ended. The log never holds any part of a body. */
function report(exchange: Exchange, subject: TicketSubject, ending: Reported): TicketClosed {
  const { context, admitted, span } = exchange;
  const { walked, stages } = ending;
  const closed: TicketClosed = {
    kind: "closed",
    ...subject,
    endpoint: walked.endpoint,
    outcome: ending.outcome,
    status: ending.status,
    ttftMs: ending.ttftMs,
    durationMs: elapsedMs(exchange),
    ...ending.usage,
    finishReason: ending.finishReason,
    failed: [...walked.failed],
    ...(stages === undefined
      ? {}
      : { stages: { ...stages, prefillMs: toTenth(stages.prefillMs) } }),
  };
  context.reports.ended(exchange.carried);
  context.reports.closed(closed);
  context.registry.inc(METRIC.relayRequestsTotal, { outcome: ending.refusal ?? ending.outcome });
  if (ending.ttftMs !== null) {
    context.registry.observe(METRIC.relayTtftSeconds, {}, ending.ttftMs / 1_000);
  }
  const { kind: _, ...facts } = closed;
  const { refusal } = ending;
  const told = { ...facts, ...(refusal === undefined ? {} : { refusal }) };
  context.logger.info({ traceId: span.traceId, ...told, path: admitted.signed.path }, "request");
  return closed;
}

/** Since the request was received. */
function elapsedMs(exchange: Exchange): number {
  return toTenth(performance.now() - exchange.startedAtMs);
}

/** What the clock is worth over I/O. */
function toTenth(ms: number): number {
  return Math.round(10 * ms) / 10;
}

/** What the engine sees: an allow-list. No signature, no ticket and no credential goes on. */
function engineHeaders(exchange: Exchange): Record<string, string> {
  const { headers } = exchange.request;
  const { tracestate } = headers;
  return {
    "content-type": headers["content-type"] ?? "application/json",
    accept: headers.accept ?? "*/*",
    [TRACEPARENT_HEADER]: exchange.span.traceparent,
    ...(exchange.requestId === "" ? {} : { [REQUEST_ID_HEADER]: exchange.requestId }),
    ...(typeof tracestate === "string" ? { tracestate } : {}),
  };
}

function readRequestId(request: IncomingMessage): string {
  const id = request.headers[REQUEST_ID_HEADER];
  return typeof id === "string" && id.length <= PROTOCOL_LIMITS.requestIdCharsMax ? id : "";
}

/** Refuses a request whose body is not read. */
export function refuseUnread(
  context: RelayContext,
  request: IncomingMessage,
  response: ServerResponse,
  code: RefusalCode,
): void {
  // NaN where the sender did not say.
  if (Number(request.headers["content-length"]) <= DISCARD_BYTES_MAX) request.resume();
  else response.shouldKeepAlive = false;
  refuseRead(context, response, code);
}

function refuseRead(context: RelayContext, response: ServerResponse, code: RefusalCode): void {
  refuse(response, code);
  context.registry.inc(METRIC.relayRequestsTotal, { outcome: code });
  context.logger.warn({ code, status: refusalStatus(code) }, "refused");
}
