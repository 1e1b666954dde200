// Rows of this version, of a later one, and of none.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  restoreColumns,
  restoreFacts,
  RowPacker,
  unpackRows,
} from "../../../src/scheduler/edge/rows.ts";
import { ADAPTERS_PER_ENDPOINT_MAX } from "../../../src/scheduler/model/adapters.ts";
import { EndpointTable } from "../../../src/scheduler/model/endpoint-table.ts";
import { SCALARS_MAX } from "../../../src/scheduler/model/scalars.ts";
import { PoolObject } from "./pool-object.ts";

const HEADER_BYTES = 4;

function packed(pool: PoolObject) {
  return new RowPacker().pack(pool.table, [...pool.table.slots()], pool.nowMs);
}

/** As a later version would write it: something behind each row's last part, and a longer first part. */
function withMore(rows: Uint8Array): Uint8Array {
  const view = new DataView(rows.buffer);
  const out: number[] = [...rows.subarray(0, HEADER_BYTES)];
  out[1] = 2;
  for (let at = HEADER_BYTES; at < rows.length;) {
    const length = view.getUint16(at, true);
    const columns = view.getUint16(at + 4, true);
    const [row, more] = [[...rows.subarray(at + 2, at + 2 + length)], [9, 9, 9, 9, 9]];
    row.splice(4 + columns, 0, ...more);
    row[2] = (columns + more.length) & 255;
    row[3] = (columns + more.length) >> 8;
    row.push(3, 0, 1, 2, 3);
    out.push(row.length & 255, row.length >> 8, ...row);
    at += 2 + length;
  }
  return Uint8Array.from(out);
}

describe("rows", () => {
  it("bring a table's columns over as they are, by another clock", () => {
    const pool = new PoolObject(3);
    pool.sampleAll();
    pool.table.dispatched(1, 900, pool.nowMs, { promptTokens: 800, uncachedTokens: 700 });
    pool.table.eject(2, pool.nowMs + 250);
    const copy = new EndpointTable();
    const aheadMs = 5_000;
    for (const row of unpackRows(packed(pool))!) {
      copy.place(row.slot, pool.table.endpoint(row.slot)!);
      restoreFacts(copy, row);
      restoreColumns(copy, row, pool.nowMs + aheadMs);
    }
    expect(copy.columns.queueDepth.slice(0, 3)).toEqual(Int32Array.of(0, 1, 0));
    expect(copy.columns.sampledAtMs[0]).toBe(pool.nowMs + aheadMs);
    expect(copy.columns.ejectedUntilMs.slice(0, 3)).toEqual(
      Float64Array.of(0, 0, pool.nowMs + 250 + aheadMs),
    );
    const busyMs = pool.table.columns.prefillBusyUntilMs[1]!;
    expect(copy.columns.prefillBusyUntilMs[1]).toBe(busyMs + aheadMs);
    expect(copy.columns.cameAtMs[1]).toBe(0);
  });

  it("are read where a later version has added something", () => {
    const pool = new PoolObject(3);
    pool.table.defineScalars(["gpu"]);
    pool.sampleAll();
    const { rows, names } = packed(pool);
    const known = unpackRows({ rows, names });
    expect(unpackRows({ rows: withMore(rows), names })).toEqual(known);
  });

  it("hold as many adapters and scalars as a table does, and count those it has not", () => {
    const pool = new PoolObject(1);
    const keys = Array.from({ length: SCALARS_MAX }, (_, n) => `key-${n}`);
    pool.table.defineScalars(keys);
    const names = Array.from({ length: ADAPTERS_PER_ENDPOINT_MAX + 6 }, (_, n) => `adapter-${n}`);
    pool.table.applyAdapters(0, { active: names, waiting: names, maxActive: 9 });
    pool.table.applySample(0, { scalars: new Map(keys.map((key, n) => [key, n])) }, pool.nowMs);
    const copy = new EndpointTable();
    const [row] = unpackRows(packed(pool))!;
    copy.place(0, pool.table.endpoint(0)!);
    restoreFacts(copy, row!);
    restoreColumns(copy, row!, pool.nowMs);
    expect(copy.columns.adapters.activeCount(0)).toBe(names.length);
    expect(copy.columns.adapters.waitingCount(0)).toBe(names.length);
    expect(copy.columns.adapters.maxActive(0)).toBe(9);
    expect(copy.columns.adapters.stateOf(0, "adapter-63")).toBe("active");
    expect(copy.columns.adapters.stateOf(0, "adapter-64")).toBe("absent");
    expect(keys.map((key) => copy.columns.scalar(key)![0])).toEqual(keys.map((_, n) => n));
  });

  it("are refused where they are none, and never thrown over", () => {
    const pool = new PoolObject(2);
    const { rows, names } = packed(pool);
    expect(unpackRows({ rows: rows.subarray(0, rows.length - 1), names })).toBeUndefined();
    expect(unpackRows({ rows: new Uint8Array(0), names })).toBeUndefined();
    const flipped = fc.record({ at: fc.nat(rows.length - 1), byte: fc.nat(255) });
    fc.assert(
      fc.property(fc.array(flipped, { maxLength: 6 }), fc.array(fc.string()), (flips, given) => {
        const broken = rows.slice();
        for (const { at, byte } of flips) broken[at] = byte;
        const read = unpackRows({ rows: broken, names: given }) ?? [];
        const copy = new EndpointTable();
        for (const row of read) {
          copy.place(row.slot, pool.table.endpoint(0)!);
          restoreFacts(copy, row);
          restoreColumns(copy, row, pool.nowMs);
        }
      }),
      { numRuns: 500 },
    );
  });
});
