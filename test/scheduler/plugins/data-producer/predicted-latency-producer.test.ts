import { describe, expect, it } from "vitest";
import type { InferenceRequest } from "../../../../src/scheduler/model/inference-request.ts";
import { type EndpointRow, pickContext, STALE_AFTER_MS } from "../../support/pick-context.ts";
import { createProducer } from "../../support/plugins.ts";

interface Asked {
  readonly params?: object;
  readonly request?: Partial<InferenceRequest>;
  readonly uncached?: readonly number[];
}

function predict(rows: readonly EndpointRow[], { params, request, uncached }: Asked = {}) {
  const producer = createProducer("predicted-latency-producer", params);
  const tokens = Float64Array.from(uncached ?? rows.map(() => 0));
  const data = { "uncached-tokens": { tokens } };
  producer.produce(pickContext(rows, { data, ...(request === undefined ? {} : { request }) }));
  const prediction = producer.data["latency-prediction"]!;
  return rows.map((_, slot) => ({
    isPredicted: prediction.isPredicted[slot],
    ttft: prediction.ttftMs[slot]!,
    tpot: prediction.tpotMs[slot]!,
    ttftHeadroom: prediction.ttftHeadroomMs[slot]!,
    tpotHeadroom: prediction.tpotHeadroomMs[slot]!,
    dispatched: prediction.dispatchedRequests[slot],
  }));
}

describe("predicted-latency-producer", () => {
  it("predicts the first token from what is uncached and what was sent there, at learned speed", () => {
    const rows = [{}, { prefillBusyMs: 500, inFlightRequests: 2 }, { prefillMsPerToken: 0.2 }];
    const [idle, busy, slow] = predict(rows, { uncached: [10_000, 10_000, 10_000] });
    expect(idle!.ttft).toBeCloseTo(1_040, 6);
    expect(busy!.ttft).toBeCloseTo(1_540, 6);
    expect(busy!.dispatched).toBe(2);
    expect(slow!.ttft).toBeCloseTo(2_040, 6);
  });

  it("predicts tokens from how many run, by the larger of what is known", () => {
    const rows = [{}, { runningRequests: 9 }, { inFlightRequests: 9 }];
    expect(predict(rows).map(({ tpot }) => tpot)).toEqual([12.4, 16, 16]);
  });

  it("predicts nothing of an endpoint without a fresh sample", () => {
    const rows = [{ ageMs: STALE_AFTER_MS + 1 }, { ageMs: Infinity }, {}];
    expect(predict(rows).map(({ isPredicted }) => isPredicted)).toEqual([0, 0, 1]);
    expect(predict([{}], { params: { predictInProduce: false } })[0]!.isPredicted).toBe(0);
  });

  it("does not take the prediction of a sample that is stale by now", () => {
    const producer = createProducer("predicted-latency-producer");
    producer.produce(pickContext([{}]));
    producer.produce(pickContext([{ ageMs: Infinity }]));
    expect(producer.data["latency-prediction"]!.isPredicted[0]).toBe(0);
  });

  const streaming = { streamingMode: true };

  it.for([
    { name: "both", request: { ttftSloMs: 45, tpotSloMs: 10 }, params: streaming, want: [5, -2.4] },
    { name: "TTFT only", request: { ttftSloMs: 45 }, params: streaming, want: [5, 0] },
    { name: "TPOT only", request: { tpotSloMs: 10 }, params: streaming, want: [0, -2.4] },
    { name: "none", request: {}, params: streaming, want: [-40, -12.4] },
    {
      name: "both, but no stream",
      request: { ttftSloMs: 45, tpotSloMs: 1 },
      params: {},
      want: [5, 0],
    },
    {
      name: "both, with a buffer",
      request: { ttftSloMs: 45, tpotSloMs: 10 },
      params: { ...streaming, sloBufferFactor: 2 },
      want: [5, 7.6],
    },
  ])("holds a request to the objectives that it names: $name", ({ request, params, want }) => {
    const [only] = predict([{}], { request, params });
    expect([only!.ttftHeadroom, Number(only!.tpotHeadroom.toFixed(9))]).toEqual(want);
  });

  it("does not hold a prefill endpoint to the time between tokens", () => {
    const rows = [{ labels: { role: "prefill" } }, { labels: { role: "decode" } }];
    const params = { ...streaming, endpointRoleLabel: "role" };
    const at = predict(rows, { params, request: { tpotSloMs: 1 } });
    expect(at.map(({ tpotHeadroom }) => tpotHeadroom < 0)).toEqual([false, true]);
  });

  it("wants a duration for a duration", () => {
    expect(() => createProducer("predicted-latency-producer", { contextTTL: "soon" })).toThrow(
      "expected a duration",
    );
  });
});
