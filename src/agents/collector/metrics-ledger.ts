// What the object has been told about every endpoint's metrics, and what it has still to be told.
// Rows carry only fields that changed since the last row; once rows were lost, or the endpoints'
// order changed, each endpoint's next row is full.

import type { MetricsRow } from "../protocol/codec.ts";
import type { ScrapeResult } from "./endpoint-readings.ts";

interface EndpointState {
  /** The newest result not yet sent. */
  result: ScrapeResult | undefined;
  observedAtMs: number;
  /** By field: the value the object holds; undefined where it holds none. */
  sent: (number | undefined)[];
}

/**
 * Whether `value` may stand in a row. The object closes the connection over an infinity, which would
 * cost every endpoint its metrics; whoever computes values drops them, and this is the last look.
 */
function isTold(value: number | undefined): value is number {
  return value !== undefined && value !== Infinity && value !== -Infinity;
}

/** One slot an endpoint of the last MEMBERSHIP, in its order. Times are the caller's clock, in ms. */
export class MetricsLedger {
  #states: EndpointState[] = [];

  /** Begins anew for `count` endpoints: nothing observed, nothing sent. */
  reset(count: number): void {
    this.#states = Array.from({ length: count }, () => ({
      result: undefined,
      observedAtMs: 0,
      sent: [],
    }));
  }

  /** The object forgot what it was told: every field is sent again with the next observation. */
  forgetSent(): void {
    for (const state of this.#states) state.sent = [];
  }

  /** Keeps a result until the next `take`; a newer one of the same endpoint replaces it. */
  observe(endpoint: number, result: ScrapeResult, nowMs: number): void {
    const state = this.#states[endpoint];
    if (state === undefined) return;
    state.result = result;
    state.observedAtMs = nowMs;
  }

  /** Rows for everything observed since the last `confirm`. Ages count from the observation. */
  rows(nowMs: number): MetricsRow[] {
    const rows: MetricsRow[] = [];
    this.#states.forEach(({ result, observedAtMs, sent }, endpoint) => {
      if (result === undefined) return;
      let mask = 0;
      const values: number[] = [];
      result.values.forEach((value, field) => {
        if (!isTold(value) || Object.is(value, sent[field])) return;
        mask |= 1 << field;
        values.push(value);
      });
      const ageMs = Math.max(0, Math.round(nowMs - observedAtMs));
      const row = { endpoint, status: result.status, ageMs, mask, values };
      rows.push(result.isPartial ? { ...row, isPartial: true } : row);
    });
    return rows;
  }

  /** The rows of the last `rows` have left: remembers their values as told. */
  confirm(): void {
    for (const state of this.#states) {
      const { result, sent } = state;
      if (result === undefined) continue;
      result.values.forEach((value, field) => {
        if (isTold(value)) sent[field] = value;
      });
      state.result = undefined;
    }
  }
}
