import {
  trace,
  type Span,
  type SpanOptions,
  type TracerProvider,
  type Context,
} from "@opentelemetry/api";
import { afterEach, describe, expect, it } from "vitest";
import { startRelaySpan, type SpanFacts } from "../../../src/agents/relay/tracing.ts";

const PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const FACTS: SpanFacts = {
  endpoint: "h:1",
  model: "m",
  status: 200,
  outcome: "ok",
  usage: { promptTokens: 9, cachedTokens: 8, completionTokens: 3 },
  finishReason: "stop",
  ttftMs: 50,
  durationMs: 90,
  stages: undefined,
};

/** A provider of spans that record, in place of an SDK. */
function recordingProvider(
  record: { name: string; attributes: Record<string, unknown>; parent: string }[],
): TracerProvider {
  return {
    getTracer: () => ({
      startSpan(name: string, options: SpanOptions = {}, context?: Context): Span {
        const parent = context === undefined ? undefined : trace.getSpanContext(context);
        const attributes: Record<string, unknown> = { ...options.attributes };
        record.push({ name, attributes, parent: parent?.spanId ?? "" });
        const span: Partial<Span> = {
          spanContext: () => ({
            traceId: parent?.traceId ?? "1".repeat(32),
            spanId: "2".repeat(16),
            traceFlags: 1,
          }),
          isRecording: () => true,
          setAttribute(key, value) {
            attributes[key] = value;
            return span as Span;
          },
          setAttributes(more) {
            Object.assign(attributes, more);
            return span as Span;
          },
          setStatus(status) {
            attributes["status"] = status.code;
            return span as Span;
          },
          end: () => undefined,
        };
        return span as Span;
      },
      startActiveSpan: () => {
        throw new Error("not used");
      },
    }),
  };
}

afterEach(() => trace.disable());

describe("startRelaySpan", () => {
  it("continues the Worker's trace without an SDK", () => {
    const span = startRelaySpan("/v1/completions", { traceparent: PARENT });
    expect(span.traceId).toBe("4bf92f3577b34da6a3ce929d0e0e4736");
    expect(span.traceparent).toMatch(/^00-4bf92f3577b34da6a3ce929d0e0e4736-[0-9a-f]{16}-01$/);
    expect(span.traceparent).not.toContain("00f067aa0ba902b7");
    expect(() => span.end(FACTS)).not.toThrow();
  });

  it.for([undefined, "", "garbage", `${PARENT}-extra`])(
    "starts a trace for the header %j",
    (header) => {
      const span = startRelaySpan(
        "/v1/completions",
        header === undefined ? {} : { traceparent: header },
      );
      expect(span.traceparent).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/);
      expect(span.traceparent).not.toContain("4bf92f35");
    },
  );

  it("is the parent of the engine's span where an SDK records", () => {
    const record: Parameters<typeof recordingProvider>[0] = [];
    trace.setGlobalTracerProvider(recordingProvider(record));
    const span = startRelaySpan("/v1/chat/completions", { traceparent: PARENT });
    expect(span.traceparent).toBe(`00-4bf92f3577b34da6a3ce929d0e0e4736-${"2".repeat(16)}-01`);
    span.end(FACTS);
    expect(record).toEqual([
      {
        name: "relay.forward",
        parent: "00f067aa0ba902b7",
        attributes: {
          "gen_ai.operation.name": "chat",
          "gen_ai.request.model": "m",
          "gen_ai.response.finish_reasons": ["stop"],
          "gen_ai.usage.input_tokens": 9,
          "gen_ai.usage.output_tokens": 3,
          "http.response.status_code": 200,
          "fairlead.endpoint": "h:1",
          "fairlead.outcome": "ok",
        },
      },
    ]);
  });

  it("has a span below it for each phase, with the measures that llm-d's sidecar has", () => {
    const record: Parameters<typeof recordingProvider>[0] = [];
    trace.setGlobalTracerProvider(recordingProvider(record));
    const span = startRelaySpan("/v1/chat/completions", { traceparent: PARENT });
    const phase = span.startPhase("prefill");
    expect(phase.traceparent).toMatch(/^00-4bf92f3577b34da6a3ce929d0e0e4736-/);
    phase.end({ "llm_d.pd_proxy.prefill_duration_ms": 40 });
    const stages = {
      connector: "nixlv2",
      prefill: "p:1",
      outcome: "ok",
      prefillMs: 40,
      failed: [],
      isDecodeOnly: false,
      isStranded: false,
    } as const;
    span.end({ ...FACTS, stages: { ...stages, failed: [] } });
    expect(record[1]).toEqual({
      name: "prefill",
      parent: "2".repeat(16),
      attributes: { "llm_d.pd_proxy.prefill_duration_ms": 40 },
    });
    expect(record[0]!.attributes).toMatchObject({
      "llm_d.pd_proxy.disaggregation_used": true,
      "llm_d.pd_proxy.prefill_duration_ms": 40,
      "llm_d.pd_proxy.decode_duration_ms": 50,
      "llm_d.pd_proxy.total_duration_ms": 90,
      "llm_d.pd_proxy.true_ttft_ms": 50,
    });
  });

  it("gives each phase a place of its own in the trace without an SDK, too", () => {
    const span = startRelaySpan("/v1/completions", { traceparent: PARENT });
    const phases = [span.startPhase("prefill"), span.startPhase("decode")];
    const seen = [span, ...phases].map(({ traceparent }) => traceparent);
    expect(new Set(seen).size).toBe(3);
    for (const each of seen) expect(each).toContain("4bf92f3577b34da6a3ce929d0e0e4736");
  });
});
