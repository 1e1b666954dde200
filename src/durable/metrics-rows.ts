// A METRICS row of the wire as a scrape of the domain.

import type { MetricsRow, ScrapeStatus } from "../agents/protocol/codec.ts";
import type { MetricField } from "../agents/protocol/messages.ts";
import type { Scrape } from "./endpoints.ts";
import { ENGINE_METRICS } from "./engine-metrics.ts";

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
} as const satisfies Record<MetricField, keyof Scrape["sample"]>;

/** `values[i]` is ENGINE_METRICS[i]; NaN, which the engine did not publish, is left out. */
export function toScrape(row: MetricsRow, values: Float64Array, nowMs: number): Scrape {
  const sample: { -readonly [Field in keyof Scrape["sample"]]: Scrape["sample"][Field] } = {};
  ENGINE_METRICS.forEach(({ field }, i) => {
    const value = values[i]!;
    if (!Number.isNaN(value)) sample[SAMPLE_FIELDS[field]] = value;
  });
  return { outcome: SCRAPE_OUTCOMES[row.status], sampledAtMs: nowMs - row.ageMs, sample };
}
