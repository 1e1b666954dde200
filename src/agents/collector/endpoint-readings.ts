// What the sources of one endpoint have told, put together into the rows of the wire.
//
//   loads      one that the engine used to publish and does not now makes the sample partial: it
//              brings its values, but does not count as newer. One that only the process before
//              published is said to be unknown (NaN)
//   scalars    one that is not told for scalarLeaseMs is said to be unknown (NaN)
//   the rest   keeps its value
//
// llm-d takes a sample in which any one metric was found for a new one, so that an engine which has
// stopped to publish its queue looks idle, or busy, for ever.

import { SCRAPE_STATUS, type ScrapeStatus } from "../protocol/codec.ts";
import { LOAD_FIELD_COUNT, ROW_FIELDS } from "../protocol/metrics-specification.ts";
import { type EngineReading, loadMask } from "./extraction.ts";

/** A scalar that is no longer told counts for so long at least. */
export const SCALAR_LEASE_MS_MIN = 5_000;
/** A source may miss one time of asking, and come late to the next. */
const SCALAR_LEASE_INTERVALS = 3;

/** How long a scalar counts whose source is asked every `intervalMs`. */
export function scalarLeaseMs(intervalMs: number): number {
  return Math.max(SCALAR_LEASE_MS_MIN, SCALAR_LEASE_INTERVALS * intervalMs);
}

const PROCESS_START = ROW_FIELDS.indexOf("process-start");

/** What one scrape found. */
export interface ScrapeResult {
  readonly status: ScrapeStatus;
  /** By field of a row; undefined where nothing was read, NaN where a value is void now. */
  readonly values: readonly (number | undefined)[];
  readonly isPartial: boolean;
  /** The engine's process is another one than that of the scrape before. */
  readonly isNewProcess: boolean;
}

export interface ReadingsOptions {
  /** Fields of a row, the scalars among them. */
  readonly fieldCount: number;
  /** The last so many of the fields. */
  readonly scalarCount: number;
  /** How often the engine is asked. */
  readonly engineIntervalMs: number;
  /** Fields are ROW_FIELDS and scalars. Otherwise they are an older object's own, which knows no NaN. */
  readonly isSpecified: boolean;
}

/** Times are the caller's clock, in ms. */
export class EndpointReadings {
  readonly #fieldCount: number;
  readonly #scalars: (number | undefined)[];
  readonly #scalarUntilMs: number[];
  readonly #engineLeaseMs: number;
  readonly #isSpecified: boolean;
  /** Loads that this process of the engine has published, as bits. */
  #seenLoads = 0;
  /** Loads that an earlier process has published and this one has not. */
  #voidLoads = 0;
  #processStart: number | undefined;

  constructor({ fieldCount, scalarCount, engineIntervalMs, isSpecified }: ReadingsOptions) {
    this.#fieldCount = fieldCount - scalarCount;
    this.#isSpecified = isSpecified;
    this.#scalars = Array.from({ length: scalarCount });
    this.#scalarUntilMs = Array.from({ length: scalarCount }, () => -Infinity);
    this.#engineLeaseMs = scalarLeaseMs(engineIntervalMs);
  }

  /** The engine did not answer, or not with its metrics. What was told before still stands. */
  engineFailed(status: ScrapeStatus): ScrapeResult {
    return { status, values: [], isPartial: false, isNewProcess: false };
  }

  /** The engine answered. */
  engineRead({ fields, lora }: EngineReading, nowMs: number): ScrapeResult {
    const own = fields.slice(0, this.#fieldCount);
    const isEmpty = fields.every((value, field) => field === PROCESS_START || value === undefined);
    if (isEmpty && lora === undefined) return this.engineFailed(SCRAPE_STATUS.malformed);
    const isNewProcess = this.#isSpecified && this.#noteProcess(own[PROCESS_START]);
    const loads = loadMask(own);
    const isPartial = (this.#seenLoads & ~loads) !== 0;
    this.#seenLoads |= loads;
    this.#voidLoads &= ~loads;
    fields
      .slice(this.#fieldCount)
      .forEach((value, key) => this.#scalarRead(key, value, nowMs + this.#engineLeaseMs));
    return {
      status: SCRAPE_STATUS.ok,
      values: [...this.#withVoid(own), ...this.#currentScalars(nowMs)],
      isPartial,
      isNewProcess,
    };
  }

  /** Another source of the endpoint answered, one that is asked every `intervalMs`. */
  scalarsRead(
    values: ReadonlyMap<number, number | undefined>,
    nowMs: number,
    intervalMs: number,
  ): void {
    const untilMs = nowMs + scalarLeaseMs(intervalMs);
    for (const [key, value] of values) this.#scalarRead(key, value, untilMs);
  }

  /** A row for an endpoint whose engine is not asked: scalars only. */
  scalarsOnly(nowMs: number): ScrapeResult {
    const own = Array.from<undefined>({ length: this.#fieldCount });
    return {
      status: SCRAPE_STATUS.ok,
      values: [...own, ...this.#currentScalars(nowMs)],
      isPartial: false,
      isNewProcess: false,
    };
  }

  #scalarRead(key: number, value: number | undefined, untilMs: number): void {
    if (value === undefined) return;
    this.#scalars[key] = value;
    this.#scalarUntilMs[key] = untilMs;
  }

  #currentScalars(nowMs: number): (number | undefined)[] {
    return this.#scalars.map((value, key) => {
      if (value === undefined) return undefined;
      return nowMs > this.#scalarUntilMs[key]! ? Number.NaN : value;
    });
  }

  /** Any other start counts: where it is an earlier one, the object judges what to make of it. */
  #noteProcess(start: number | undefined): boolean {
    if (start === undefined || start === this.#processStart) return false;
    const isFirst = this.#processStart === undefined;
    this.#processStart = start;
    if (isFirst) return false;
    this.#voidLoads |= this.#seenLoads;
    this.#seenLoads = 0;
    return true;
  }

  #withVoid(own: readonly (number | undefined)[]): (number | undefined)[] {
    return own.map((value, field) => {
      const isVoid = field < LOAD_FIELD_COUNT && (this.#voidLoads & (1 << field)) !== 0;
      return value === undefined && isVoid ? Number.NaN : value;
    });
  }
}
