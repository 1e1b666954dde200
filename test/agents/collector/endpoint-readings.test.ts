import { describe, expect, it } from "vitest";
import {
  EndpointReadings,
  SCALAR_LEASE_MS_MIN,
} from "../../../src/agents/collector/endpoint-readings.ts";
import { SCRAPE_STATUS } from "../../../src/agents/protocol/codec.ts";
import { ROW_FIELDS } from "../../../src/agents/protocol/metrics-specification.ts";

type Loads = readonly (number | undefined)[];
const reading = (loads: Loads, rest: { start?: number; scalars?: Loads } = {}) => ({
  fields: [...loads, undefined, undefined, rest.start, ...(rest.scalars ?? [])],
  lora: undefined,
});
const newReadings = (scalarCount = 0, engineIntervalMs = 200, isSpecified = true) =>
  new EndpointReadings({
    fieldCount: ROW_FIELDS.length + scalarCount,
    scalarCount,
    engineIntervalMs,
    isSpecified,
  });

describe("a scrape", () => {
  it("without any of the engine's metrics is malformed, also if the process says when it began", () => {
    const none = [undefined, undefined, undefined];
    expect(newReadings().engineRead(reading(none), 0).status).toBe(SCRAPE_STATUS.malformed);
    const other = newReadings().engineRead(reading(none, { start: 5 }), 0);
    expect(other).toMatchObject({ status: SCRAPE_STATUS.malformed, values: [] });
  });

  it("is partial once a load is missing that was there before", () => {
    const readings = newReadings();
    const isPartial = (...loads: Loads) => readings.engineRead(reading(loads), 0).isPartial;
    expect(isPartial(1, 2, undefined)).toBe(false);
    expect(isPartial(1, 2, 0.5)).toBe(false);
    expect(isPartial(undefined, 2, 0.5)).toBe(true);
    expect(isPartial(1, 2, undefined)).toBe(true);
    expect(isPartial(1, 2, 0.5)).toBe(false);
  });

  it("of a new process is judged by what that process publishes", () => {
    const readings = newReadings();
    readings.engineRead(reading([1, 2, 0.5], { start: 100 }), 0);
    const after = readings.engineRead(reading([1, undefined, undefined], { start: 200 }), 1);
    expect(after.isPartial).toBe(false);
    expect(after.isNewProcess).toBe(true);
    const later = readings.engineRead(reading([1, undefined, undefined], { start: 200 }), 2);
    expect(later.isNewProcess).toBe(false);
  });

  it("of a new process voids the loads that only the old one published, until it does", () => {
    const readings = newReadings();
    const loadsOf = (loads: Loads, start: number) =>
      readings.engineRead(reading(loads, { start }), 0).values.slice(0, 3);
    expect(loadsOf([1, 2, undefined], 100)).toEqual([1, 2, undefined]);
    expect(loadsOf([undefined, 3, undefined], 200)).toEqual([NaN, 3, undefined]);
    expect(loadsOf([undefined, 3, undefined], 200)).toEqual([NaN, 3, undefined]);
    expect(loadsOf([4, 3, undefined], 200)).toEqual([4, 3, undefined]);
    expect(loadsOf([undefined, 3, undefined], 200)).toEqual([undefined, 3, undefined]);
  });

  it("for an object without a specification voids nothing: its fields are its own", () => {
    const readings = newReadings(0, 200, false);
    readings.engineRead(reading([1, 2], { start: 100 }), 0);
    const after = readings.engineRead(reading([undefined, 2], { start: 200 }), 0);
    expect(after).toMatchObject({ isNewProcess: false, isPartial: true });
    expect(after.values[0]).toBeUndefined();
  });

  it("that fails says nothing, and does not make the next one partial", () => {
    const readings = newReadings();
    readings.engineRead(reading([1, 2, 0.5]), 0);
    expect(readings.engineFailed(SCRAPE_STATUS.unreachable).values).toEqual([]);
    expect(readings.engineRead(reading([1, 2, 0.5]), 1).isPartial).toBe(false);
  });
});

describe("scalars", () => {
  const scalarsOf = ({ values }: { values: Loads }) => values.slice(ROW_FIELDS.length);

  it("come from the engine and from others, into one row", () => {
    const readings = newReadings(2);
    readings.scalarsRead(new Map([[1, 0.5]]), 0, 1_000);
    const row = readings.engineRead(reading([1, 2, 0.5], { scalars: [7, undefined] }), 1);
    expect(scalarsOf(row)).toEqual([7, 0.5]);
  });

  it("count for their lease and are unknown then, until they are told again", () => {
    const readings = newReadings(1);
    const at = (nowMs: number, value?: number) =>
      scalarsOf(readings.engineRead(reading([1, 2, 0.5], { scalars: [value] }), nowMs))[0];
    expect(at(0)).toBeUndefined();
    expect(at(10, 3)).toBe(3);
    expect(at(10 + SCALAR_LEASE_MS_MIN)).toBe(3);
    expect(at(11 + SCALAR_LEASE_MS_MIN)).toBeNaN();
    expect(at(12 + SCALAR_LEASE_MS_MIN, 4)).toBe(4);
  });

  it("of a source that is asked seldom count until it was asked again", () => {
    const readings = newReadings(2, 10_000);
    readings.scalarsRead(new Map([[0, 0.4]]), 0, 30_000);
    const at = (nowMs: number, own?: number) =>
      scalarsOf(readings.engineRead(reading([1, 2, 0.5], { scalars: [undefined, own] }), nowMs));
    expect(at(0, 7)).toEqual([0.4, 7]);
    expect(at(30_000)).toEqual([0.4, 7]);
    expect(at(30_001)).toEqual([0.4, NaN]);
    expect(at(90_000)).toEqual([0.4, NaN]);
    expect(at(90_001)).toEqual([NaN, NaN]);
  });

  it("of an endpoint whose engine is not read make a row by themselves", () => {
    const readings = newReadings(1);
    readings.scalarsRead(new Map([[0, 0.25]]), 0, 1_000);
    const row = readings.scalarsOnly(1);
    expect(row.status).toBe(SCRAPE_STATUS.ok);
    expect(row.values).toEqual([...Array.from({ length: ROW_FIELDS.length }), 0.25]);
  });
});
