import { describe, expect, it } from "vitest";
import { MetricsLedger } from "../../../src/agents/collector/metrics-ledger.ts";
import {
  decodeMetrics,
  encodeMetrics,
  framePayload,
  SCRAPE_STATUS,
} from "../../../src/agents/protocol/codec.ts";
import { PROTOCOL_VERSION } from "../../../src/agents/protocol/version.ts";

const ok = (...values: (number | undefined)[]) => ({
  status: SCRAPE_STATUS.ok,
  values,
  isPartial: false,
  isNewProcess: false,
});
const failed = { ...ok(), status: SCRAPE_STATUS.unreachable };

function ledger(count = 2): MetricsLedger {
  const made = new MetricsLedger();
  made.reset(count);
  return made;
}

describe("MetricsLedger", () => {
  it("sends all fields first and then only what changed, with the age of the sample", () => {
    const metrics = ledger();
    metrics.observe(1, ok(4, undefined, 0.5), 1_000);
    expect(metrics.rows(1_030)).toEqual([
      { endpoint: 1, status: 0, ageMs: 30, mask: 0b101, values: [4, 0.5] },
    ]);
    metrics.confirm();
    metrics.observe(1, ok(4, undefined, 0.75), 1_200);
    expect(metrics.rows(1_200)).toEqual([
      { endpoint: 1, status: 0, ageMs: 0, mask: 0b100, values: [0.75] },
    ]);
    metrics.confirm();
    expect(metrics.rows(1_300)).toEqual([]);
  });

  it("refreshes an unchanged sample by a row without fields", () => {
    const metrics = ledger();
    metrics.observe(0, ok(4), 0);
    metrics.rows(0);
    metrics.confirm();
    metrics.observe(0, ok(4), 200);
    expect(metrics.rows(210)).toEqual([{ endpoint: 0, status: 0, ageMs: 10, mask: 0, values: [] }]);
  });

  it("leaves out what the object would close the connection over", () => {
    const metrics = ledger();
    metrics.observe(0, ok(Infinity, 2, -Infinity, NaN), 0);
    const rows = metrics.rows(0);
    expect(rows).toEqual([{ endpoint: 0, status: 0, ageMs: 0, mask: 0b1010, values: [2, NaN] }]);
    const frame = encodeMetrics({ version: PROTOCOL_VERSION, seq: 1 }, rows);
    expect(decodeMetrics(framePayload(frame)).ok).toBe(true);
    metrics.confirm();
    metrics.observe(0, ok(3, 2), 1);
    expect(metrics.rows(1)).toMatchObject([{ mask: 1, values: [3] }]);
  });

  it("keeps only the newest result while nothing can be sent, and loses no change", () => {
    const metrics = ledger();
    metrics.observe(0, ok(1, 1), 0);
    metrics.rows(0);
    metrics.observe(0, ok(2, 1), 200);
    expect(metrics.rows(200)).toEqual([
      { endpoint: 0, status: 0, ageMs: 0, mask: 0b11, values: [2, 1] },
    ]);
  });

  it("reports a failure without fields, and afterwards what changed meanwhile", () => {
    const metrics = ledger();
    metrics.observe(0, ok(1), 0);
    metrics.confirm();
    metrics.observe(0, failed, 200);
    expect(metrics.rows(200)).toEqual([{ endpoint: 0, status: 1, ageMs: 0, mask: 0, values: [] }]);
    metrics.confirm();
    metrics.observe(0, ok(3), 400);
    expect(metrics.rows(400)).toMatchObject([{ mask: 1, values: [3] }]);
  });

  it("says all again to an object that forgot", () => {
    const metrics = ledger();
    metrics.observe(0, ok(1), 0);
    metrics.confirm();
    metrics.forgetSent();
    metrics.observe(0, ok(1), 200);
    expect(metrics.rows(200)).toMatchObject([{ mask: 1, values: [1] }]);
  });

  it("says once that a value is void, and that a sample is partial each time", () => {
    const metrics = ledger();
    const observe = (value: number, isPartial: boolean) => {
      metrics.observe(0, { ...ok(value), isPartial }, 0);
      const rows = metrics.rows(0);
      metrics.confirm();
      return rows;
    };
    observe(1, false);
    expect(observe(NaN, true)).toEqual([
      { endpoint: 0, status: 0, ageMs: 0, mask: 1, values: [NaN], isPartial: true },
    ]);
    expect(observe(NaN, true)).toMatchObject([{ mask: 0, isPartial: true }]);
    expect(observe(NaN, false)[0]).not.toHaveProperty("isPartial");
  });

  it("ignores a late result of an endpoint that is gone", () => {
    const metrics = ledger(2);
    metrics.reset(1);
    metrics.observe(1, ok(1), 0);
    expect(metrics.rows(0)).toEqual([]);
  });
});
