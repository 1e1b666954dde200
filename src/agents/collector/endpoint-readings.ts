// What the sources of one endpoint have told, put together into the rows of the wire.
//
//   loads      one that the engine used to publish and does not now makes the sample partial: it
//              brings its values, but does not count as newer
//   scalars    one that is not told for SCALAR_LEASE_MS is said to be unknown (NaN)
//   the rest   keeps its value until the engine's process is another one
//
// llm-d takes a sample in which any one metric was found for a new one, so that an engine which has
// stopped to publish its queue looks idle, or busy, for ever.

import { SCRAPE_STATUS, type ScrapeStatus } from "../protocol/codec.ts";
import { ROW_FIELDS } from "../protocol/metrics-specification.ts";
import { type EngineReading, loadMask, type LoraReading } from "./extraction.ts";

/** How long a scalar counts that is no longer told. */
export const SCALAR_LEASE_MS = 5_000;
const PROCESS_START = ROW_FIELDS.indexOf("process-start");

/** What one scrape found. */
export interface ScrapeResult {
  readonly status: ScrapeStatus;
  /** By field of a row; undefined where nothing was read, NaN where a value is void now. */
  readonly values: readonly (number | undefined)[];
  readonly isPartial: boolean;
}

/** Times are the caller's clock, in ms. */
export class EndpointReadings {
  readonly #fieldCount: number;
  readonly #scalars: (number | undefined)[];
  readonly #scalarReadAtMs: number[];
  /** Loads that this process of the engine has published, as bits. */
  #seenLoads = 0;
  #processStart: number | undefined;
  #lora: LoraReading | undefined;

  /** A row has `fieldCount` fields, the last `scalarCount` of them scalars. */
  constructor(fieldCount: number, scalarCount: number) {
    this.#fieldCount = fieldCount - scalarCount;
    this.#scalars = Array.from({ length: scalarCount });
    this.#scalarReadAtMs = Array.from({ length: scalarCount }, () => -Infinity);
  }

  /** Adapters as last named; undefined before that. */
  get lora(): LoraReading | undefined {
    return this.#lora;
  }

  /** The engine did not answer, or not with its metrics. What was told before still stands. */
  engineFailed(status: ScrapeStatus): ScrapeResult {
    return { status, values: [], isPartial: false };
  }

  /** The engine answered. */
  engineRead({ fields, lora }: EngineReading, nowMs: number): ScrapeResult {
    const own = fields.slice(0, this.#fieldCount);
    const isEmpty = fields.every((value, field) => field === PROCESS_START || value === undefined);
    if (isEmpty && lora === undefined) return this.engineFailed(SCRAPE_STATUS.malformed);
    this.#noteProcess(own[PROCESS_START]);
    if (lora !== undefined) this.#lora = lora;
    const loads = loadMask(own);
    const isPartial = (this.#seenLoads & ~loads) !== 0;
    this.#seenLoads |= loads;
    fields.slice(this.#fieldCount).forEach((value, key) => this.#scalarRead(key, value, nowMs));
    return {
      status: SCRAPE_STATUS.ok,
      values: [...own, ...this.#currentScalars(nowMs)],
      isPartial,
    };
  }

  /** Another source of the endpoint answered. */
  scalarsRead(values: ReadonlyMap<number, number | undefined>, nowMs: number): void {
    for (const [key, value] of values) this.#scalarRead(key, value, nowMs);
  }

  /** A row for an endpoint whose engine is not asked: scalars only. */
  scalarsOnly(nowMs: number): ScrapeResult {
    const own = Array.from<undefined>({ length: this.#fieldCount });
    return {
      status: SCRAPE_STATUS.ok,
      values: [...own, ...this.#currentScalars(nowMs)],
      isPartial: false,
    };
  }

  #scalarRead(key: number, value: number | undefined, nowMs: number): void {
    if (value === undefined) return;
    this.#scalars[key] = value;
    this.#scalarReadAtMs[key] = nowMs;
  }

  #currentScalars(nowMs: number): (number | undefined)[] {
    return this.#scalars.map((value, key) => {
      if (value === undefined) return undefined;
      return nowMs - this.#scalarReadAtMs[key]! > SCALAR_LEASE_MS ? Number.NaN : value;
    });
  }

  #noteProcess(start: number | undefined): void {
    if (start === undefined || start === this.#processStart) return;
    if (this.#processStart !== undefined) {
      this.#seenLoads = 0;
      this.#lora = undefined;
    }
    this.#processStart = start;
  }
}
