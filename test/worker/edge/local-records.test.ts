import { describe, expect, it } from "vitest";
import {
  RECORDS_A_SYNC_MAX,
  sizeOfRecord,
} from "../../../src/scheduler/decisions/packed-record.ts";
import {
  LocalRecords,
  POOL_RECORDS_PER_S_MAX,
  RECORDS_A_SYNC_BYTES_MAX,
  RECORDS_BURST_MAX,
  RECORDS_FOR_RETRIES,
  RECORDS_PER_S_MAX,
  RECORDS_WAITING_BYTES_MAX,
} from "../../../src/worker/edge/local-records.ts";
import { SmallPool } from "../../durable/edge/small-pool.ts";

const NOW_MS = 1_000_000;

/** An isolate that takes one decision after another about a pool. */
function isolate(endpoints = 2) {
  const records = new LocalRecords();
  const pool = new SmallPool(endpoints);
  const { scheduler } = pool;
  let count = 0;
  /** Whether the pick was recorded. */
  const pick = (nowMs = NOW_MS, { isRetry = false, isolates = 1, isKept = true } = {}): boolean => {
    const recorder = records.recorderFor(isRetry, nowMs, isolates);
    pool.pick(recorder);
    if (recorder === undefined) return false;
    const facts = { attempt: 1, configVersion: 1, scheduler, seed: 1 };
    if (isKept) records.keep({ requestId: `r${count++}`, facts, endpoints: pool.table });
    return true;
  };
  /** How many of the picks of one second are recorded, one each millisecond. */
  const second = (fromMs: number, isolates = 1) => {
    const each = Array.from({ length: 1_000 }, (_, ms) => pick(fromMs + ms, { isolates }));
    return each.filter((isRecorded) => isRecorded).length;
  };
  return { records, pick, second };
}

describe("LocalRecords", () => {
  it("records so many at once, and leaves some for requests that have failed somewhere", () => {
    const { pick } = isolate();
    const first = Array.from({ length: 100 }, () => pick()).filter((isRecorded) => isRecorded);
    expect(first).toHaveLength(RECORDS_BURST_MAX - RECORDS_FOR_RETRIES);
    const retries = Array.from({ length: 100 }, () => pick(NOW_MS, { isRetry: true }));
    expect(retries.filter((isRecorded) => isRecorded)).toHaveLength(RECORDS_FOR_RETRIES);
  });

  it("records so many a second, and fewer where many isolates decide", () => {
    const few = isolate();
    few.second(NOW_MS);
    few.records.take();
    few.records.told();
    expect(few.second(NOW_MS + 1_000)).toBe(RECORDS_PER_S_MAX);
    const many = isolate();
    many.second(NOW_MS);
    const isolates = 2 * POOL_RECORDS_PER_S_MAX;
    const seconds = Array.from({ length: 4 }, (_, n) =>
      many.second(NOW_MS + (n + 1) * 1_000, isolates),
    );
    expect(seconds.reduce((sum, each) => sum + each)).toBe(2);
  });

  it("watches no more picks than that, also where the object is asked for them after all", () => {
    const { pick, records } = isolate();
    const watched = (atMs: number) =>
      Array.from({ length: 100 }, () => pick(atMs, { isKept: false })).filter(
        (isRecorded) => isRecorded,
      );
    expect(watched(NOW_MS)).toHaveLength(RECORDS_BURST_MAX - RECORDS_FOR_RETRIES);
    expect(watched(NOW_MS + 1_000)).toHaveLength(RECORDS_PER_S_MAX);
    expect(records.take()).toEqual({});
  });

  it("tells what waits, again where nobody has answered, and once where somebody has", () => {
    const { pick, records } = isolate();
    const told = () => records.take().records?.map(({ requestId }) => requestId) ?? [];
    pick();
    expect(told()).toEqual(["r0"]);
    pick();
    expect(told()).toEqual(["r0", "r1"]);
    pick();
    records.told();
    expect(told()).toEqual(["r2"]);
    records.told();
    expect([told(), records.take()]).toEqual([[], {}]);
  });

  it("tells so many bytes a call, and records none while too many wait", () => {
    const { pick, records } = isolate(200);
    let seconds = 0;
    while (pick(NOW_MS + 1_000 * seconds)) seconds++;
    const waiting: number[] = [];
    let calls = 0;
    for (let told = records.take().records; told !== undefined; told = records.take().records) {
      const bytes = told.reduce((sum, record) => sum + sizeOfRecord(record), 0);
      expect(bytes).toBeLessThanOrEqual(RECORDS_A_SYNC_BYTES_MAX);
      expect(told.length).toBeLessThanOrEqual(RECORDS_A_SYNC_MAX);
      waiting.push(bytes);
      calls += 1;
      records.told();
    }
    const all = waiting.reduce((sum, bytes) => sum + bytes, 0);
    expect(all).toBeGreaterThanOrEqual(RECORDS_WAITING_BYTES_MAX);
    expect(all).toBeLessThan(RECORDS_WAITING_BYTES_MAX + RECORDS_A_SYNC_BYTES_MAX);
    expect(calls).toBeGreaterThan(1);
    expect(pick(NOW_MS + 1_000 * seconds)).toBe(true);
  });
});
