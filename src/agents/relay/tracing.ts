// The relay's part of a trace: one span a request through @opentelemetry/api, and below it one a phase
// where prefill runs apart. They do nothing unless an SDK is registered; the traceparent that engines see
// is there in either case.

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
import type { Phase, StageFacts } from "./disaggregation/split-request.ts";
import { RandomHex } from "./random-hex.ts";
import type { Usage } from "../protocol/answer-usage.ts";

const IDS = new RandomHex();

export interface RelaySpan {
  readonly traceId: string;
  /** For the engine's request. */
  readonly traceparent: string;
  /** Begins a part of the request that has a span of its own. */
  startPhase(name: "prefill" | "decode"): Phase;
  end(facts: SpanFacts): void;
}

export interface SpanFacts {
  readonly endpoint: string;
  readonly model: string | null;
  readonly status: number | null;
  readonly outcome: string;
  readonly usage: Usage;
  readonly finishReason: string | null;
  readonly ttftMs: number | null;
  readonly durationMs: number;
  readonly stages: StageFacts | undefined;
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
    startPhase: (name) => startPhase(name, span, context),
    end(facts) {
      describe(span, facts);
      span.end();
    },
  };
}

function startPhase(name: string, request: Span, parent: TraceContext): Phase {
  const span = trace
    .getTracer("fairlead-relay")
    .startSpan(name, { kind: SpanKind.CLIENT }, trace.setSpan(ROOT_CONTEXT, request));
  return {
    traceparent: formatTraceparent(contextOf(span, parent)),
    end(attributes) {
      span.setAttributes(attributes);
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
  return childSpan(parent, (bytes) => IDS.take(bytes));
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
  if (facts.stages !== undefined) describeStages(span, facts, facts.stages);
  if (facts.outcome !== "ok") span.setStatus({ code: SpanStatusCode.ERROR });
}

/** The names are those of llm-d's sidecar. */
function describeStages(span: Span, facts: SpanFacts, stages: StageFacts): void {
  span.setAttributes({
    "llm_d.pd_proxy.connector": stages.connector,
    "llm_d.pd_proxy.disaggregation_used": stages.outcome === "ok" && !stages.isDecodeOnly,
    "llm_d.pd_proxy.reason": stages.outcome,
    "llm_d.pd_proxy.prefill_duration_ms": stages.prefillMs,
    "llm_d.pd_proxy.decode_duration_ms": Math.max(0, facts.durationMs - stages.prefillMs),
    "llm_d.pd_proxy.total_duration_ms": facts.durationMs,
  });
  if (facts.ttftMs !== null) span.setAttribute("llm_d.pd_proxy.true_ttft_ms", facts.ttftMs);
}
