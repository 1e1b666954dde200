// What is told about a request: a span, metrics and one log line. Never a prompt, an answer or a
// secret; a model's name only once it is known to be one.

import {
  type Context,
  isSpanContextValid,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  trace,
  TraceFlags,
} from "@opentelemetry/api";
import type { Settings } from "../config/settings.ts";
import type { DropReason } from "../scheduler/outcome.ts";
import { METRIC } from "../telemetry/names.ts";
import { childSpan, type TraceContext } from "../telemetry/traceparent.ts";
import type { Call } from "./call.ts";
import { randomHex } from "./crypto.ts";
import { metrics } from "./metrics.ts";
import type { StreamEnd } from "./upstream/client-answer.ts";

/** Filled in as a request goes on; what is unknown stays out of the line. */
export interface RequestFacts {
  path: string;
  tenant?: string;
  priority?: number;
  /** The client's name for it. */
  model?: string;
  /** What the engines are asked for; absent before a pool was. */
  targetModel?: string;
  pool?: string;
  /** Of the pool, among those that came into question; absent where it was the only one. */
  poolTier?: number;
  /** The best of the others. */
  runnerUp?: string;
  /** Of another variant than the request's; VARIANT_UNNAMED where it has no name. */
  variant?: string;
  endpoint?: string;
  /** Picks made: one, and one for every retry. */
  attempts: number;
  /** Over all relays. */
  endpointsTried: number;
  /** At the edge or by the pool's object, and why there; of the last pick. */
  decided?: string;
  /** In pools' queues; absent if it did not wait. */
  queueMs?: number;
  isStream: boolean;
  requestBytes: number;
  /**
   * How an answer ended once it had begun. "client-left" is no error: many clients close as soon as
   * they have read [DONE]. Only the relay knows whether they had.
   */
  streamEnd?: StreamEnd;
  /** It was asked for a second time, and that answer came first or not. */
  hedge?: "won" | "lost";
  /** An error code of ours; absent when an engine answered, whatever it answered. */
  code?: string;
  /** Why a pool refused it; several have one code. */
  dropReason?: DropReason;
  /** For operators: the object's drop detail, or a relay's code. Never shown to a client. */
  detail?: string;
}

/** Follows one inference request from its arrival to its end. */
export class RequestTelemetry {
  readonly facts: RequestFacts;
  /** The span that the relay's span is a child of. */
  readonly trace: TraceContext;
  readonly #call: Call;
  readonly #span: Span;
  #isEnded = false;

  constructor(call: Call, path: string) {
    this.#call = call;
    this.facts = { path, attempts: 0, endpointsTried: 0, isStream: false, requestBytes: 0 };
    this.#span = trace
      .getTracer("fairlead")
      .startSpan(
        "gateway.request",
        { kind: SpanKind.SERVER, attributes: { "url.path": path } },
        remoteParent(call.parent),
      );
    // Without an SDK a span is a no-op: invalid ids, or its parent's. Then the ids are our own.
    const own = this.#span.spanContext();
    const isNoOp = !isSpanContextValid(own) || own.spanId === call.parent?.spanId;
    this.trace = isNoOp
      ? childSpan(call.parent, randomHex)
      : { traceId: own.traceId, spanId: own.spanId, isSampled: (own.traceFlags & 1) === 1 };
  }

  /** Call once, when nothing more will be sent. Later calls do nothing. */
  end(status: number, requestLog: Settings["requestLog"]): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    const { facts } = this;
    const isError = status >= 400 || facts.code !== undefined;
    this.#count(status, isError);
    this.#endSpan(status, isError);
    if (requestLog === "all" || (requestLog === "errors" && isError)) {
      log({
        level: status >= 500 ? "warn" : "info",
        msg: "request",
        requestId: this.#call.requestId,
        clientRequestId: this.#call.clientRequestId,
        traceId: this.trace.traceId,
        path: facts.path,
        tenant: facts.tenant,
        model: facts.model,
        targetModel: facts.targetModel === facts.model ? undefined : facts.targetModel,
        pool: facts.pool,
        poolTier: facts.poolTier,
        runnerUp: facts.runnerUp,
        variant: facts.variant,
        endpoint: facts.endpoint,
        status,
        code: facts.code,
        dropReason: facts.dropReason,
        detail: facts.detail,
        stream: facts.isStream,
        streamEnd: facts.streamEnd,
        attempts: facts.attempts,
        endpointsTried: facts.endpointsTried,
        requestBytes: facts.requestBytes,
        priority: facts.priority,
        hedge: facts.hedge,
        decided: facts.decided,
        queueMs: facts.queueMs,
        ms: Date.now() - this.#call.receivedAtMs,
      });
    }
  }

  #count(status: number, isError: boolean): void {
    const { model = "", targetModel = model, tenant = "", priority = 0, code } = this.facts;
    const labels = {
      model_name: model,
      target_model_name: targetModel,
      fairness_id: tenant,
      priority: String(priority),
    };
    metrics.inc(METRIC.requestTotal, labels);
    const seconds = (Date.now() - this.#call.receivedAtMs) / 1000;
    metrics.observe(METRIC.requestSeconds, labels, seconds);
    if (isError) {
      metrics.inc(METRIC.requestErrorTotal, { ...labels, error_code: code ?? String(status) });
    }
  }

  #endSpan(status: number, isError: boolean): void {
    // Without an SDK nobody reads what would be put together here.
    if (!this.#span.isRecording()) return this.#span.end();
    const { model, tenant, pool, poolTier, runnerUp, endpoint, queueMs } = this.facts;
    this.#span.setAttributes({
      "http.response.status_code": status,
      ...(model === undefined ? {} : { "gen_ai.request.model": model }),
      ...(tenant === undefined ? {} : { "fairlead.tenant": tenant }),
      ...(pool === undefined ? {} : { "fairlead.pool": pool }),
      ...(poolTier === undefined ? {} : { "fairlead.pool_tier": poolTier }),
      ...(runnerUp === undefined ? {} : { "fairlead.pool_runner_up": runnerUp }),
      ...(endpoint === undefined ? {} : { "fairlead.endpoint": endpoint }),
      ...(queueMs === undefined ? {} : { "fairlead.queue_ms": queueMs }),
    });
    if (isError && status >= 500) this.#span.setStatus({ code: SpanStatusCode.ERROR });
    this.#span.end();
  }
}

function remoteParent(parent: TraceContext | undefined): Context {
  if (parent === undefined) return ROOT_CONTEXT;
  const { traceId, spanId, isSampled } = parent;
  const traceFlags = isSampled ? TraceFlags.SAMPLED : TraceFlags.NONE;
  return trace.setSpanContext(ROOT_CONTEXT, { traceId, spanId, traceFlags, isRemote: true });
}

/** An exception that reached the router. Its message may quote a request, so it stays out. */
export function logException(error: Error, call: Call): void {
  const frames = (error.stack ?? "").split("\n").filter((line) => /^\s+at /.test(line));
  const isOurs = error.message.startsWith("invariant broken: ");
  log({
    level: "error",
    msg: "exception",
    requestId: call.requestId,
    name: error.name,
    message: isOurs ? error.message : undefined,
    stack: frames.map((line) => line.trim()).slice(0, 10),
  });
}

/** An upstream is configured wrongly: `why` is a sentence of our own. */
export function logUpstream(fault: {
  readonly pool: string;
  readonly upstream: string;
  readonly requestId: string;
  readonly why: string;
}): void {
  const { pool, upstream, requestId, why } = fault;
  log({ level: "error", msg: "upstream", requestId, pool, upstream, message: why });
}

/** A tokenizer that a pool asks for cannot be used: `why` is a sentence of our own. */
export function logTokenizer(why: string): void {
  log({ level: "error", msg: "tokenizer", message: why });
}

function log(line: Readonly<Record<string, unknown>>): void {
  // oxlint-disable-next-line no-console -- a Worker's log is its console; this is the one place
  console.log(JSON.stringify(line));
}
