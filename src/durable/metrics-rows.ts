// A METRICS row of the wire as a scrape of the domain.

import type { ScrapeStatus } from "../agents/protocol/codec.ts";
import { ROW_FIELDS, type RowField } from "../agents/protocol/metrics-specification.ts";
import type { CompleteRow } from "./agent-frames.ts";
import type { Scrape } from "./endpoints.ts";

const SCRAPE_OUTCOMES = {
  0: "ok",
  1: "unreachable",
  2: "malformed",
} as const satisfies Record<ScrapeStatus, Scrape["outcome"]>;

const SAMPLE_FIELDS = {
  waiting: "waiting",
  running: "running",
  "kv-usage": "kvUsage",
  "kv-block-size": "kvBlockSize",
  "kv-blocks": "kvBlocks",
  "process-start": "processStartS",
} as const satisfies Record<RowField, keyof Scrape["sample"]>;

/** A field that the engine did not publish is left out; a scalar that is unknown is said to be. */
export function toScrape({ row, values, scalars }: CompleteRow, nowMs: number): Scrape {
  const sample: { -readonly [Field in keyof Scrape["sample"]]: Scrape["sample"][Field] } = {};
  ROW_FIELDS.forEach((field, i) => {
    const value = values[i]!;
    if (!Number.isNaN(value)) sample[SAMPLE_FIELDS[field]] = value;
  });
  if (scalars.length > 0) {
    sample.scalars = new Map(scalars.map((key, i) => [key, values[ROW_FIELDS.length + i]!]));
  }
  if (row.isPartial === true) sample.isPartial = true;
  return { outcome: SCRAPE_OUTCOMES[row.status], sampledAtMs: nowMs - row.ageMs, sample };
}
