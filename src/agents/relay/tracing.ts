// The relay's part of a trace: one span a request through @opentelemetry/api, which does nothing
// unless an SDK is registered, and the traceparent the engine sees in either case.

import { randomBytes } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";
import {
  ROOT_CONTEXT,
  SpanKind,
  SpanStatusCode,
  trace,
  TraceFlags,
  type Span,
} from "@opentelemetry/api";
import { TRACEPARENT_HEADER } from "../protocol/headers.ts";
import {
  childSpan,
  formatTraceparent,
  parseTraceparent,
  type TraceContext,
} from "../../telemetry/traceparent.ts";
import type { Usage } from "./usage.ts";

export interface RelaySpan {
  readonly traceId: string;
  /** For the engine's request. */
  readonly traceparent: string;
  end(facts: SpanFacts): void;
}

export interface SpanFacts {
  readonly endpoint: string;
  readonly model: string | null;
  readonly status: number | null;
  readonly outcome: string;
  readonly usage: Usage;
  readonly finishReason: string | null;
}

/** Starts the span of one request below the Worker's. */
export function startRelaySpan(path: string, headers: IncomingHttpHeaders): RelaySpan {
  const header = headers[TRACEPARENT_HEADER];
  const parent = parseTraceparent(typeof header === "string" ? header : undefined);
  const operation = path.endsWith("/chat/completions") ? "chat" : "text_completion";
  const span = trace
    .getTracer("fairlead-relay")
    .startSpan(
      "relay.forward",
      { kind: SpanKind.CLIENT, attributes: { "gen_ai.operation.name": operation } },
      parent === undefined ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, remote(parent)),
    );
  const context = contextOf(span, parent);
  return {
    traceId: context.traceId,
    traceparent: formatTraceparent(context),
    end(facts) {
      describe(span, facts);
      span.end();
    },
  };
}

function remote(parent: TraceContext) {
  return {
    traceId: parent.traceId,
    spanId: parent.spanId,
    traceFlags: parent.isSampled ? TraceFlags.SAMPLED : TraceFlags.NONE,
    isRemote: true,
  };
}

/** The span's own ids where an SDK gave it some, else a child of the Worker's. */
function contextOf(span: Span, parent: TraceContext | undefined): TraceContext {
  const { traceId, spanId, traceFlags } = span.spanContext();
  if (span.isRecording()) {
    return { traceId, spanId, isSampled: (traceFlags & TraceFlags.SAMPLED) !== 0 };
  }
  return childSpan(parent, (bytes) => randomBytes(bytes).toString("hex"));
}

function describe(span: Span, facts: SpanFacts): void {
  if (!span.isRecording()) return;
  const { usage } = facts;
  span.setAttribute("fairlead.endpoint", facts.endpoint);
  span.setAttribute("fairlead.outcome", facts.outcome);
  if (facts.model !== null) span.setAttribute("gen_ai.request.model", facts.model);
  if (facts.status !== null) span.setAttribute("http.response.status_code", facts.status);
  if (facts.finishReason !== null) {
    span.setAttribute("gen_ai.response.finish_reasons", [facts.finishReason]);
  }
  if (usage.promptTokens !== null) {
    span.setAttribute("gen_ai.usage.input_tokens", usage.promptTokens);
  }
  if (usage.completionTokens !== null) {
    span.setAttribute("gen_ai.usage.output_tokens", usage.completionTokens);
  }
  if (facts.outcome !== "ok") span.setStatus({ code: SpanStatusCode.ERROR });
}
