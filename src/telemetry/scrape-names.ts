// Names of what collectors tell of reading engines' metrics and models; a part of METRIC.

import type { MetricDefinition } from "./metrics.ts";

export const SCRAPE_METRIC = {
  scrapesTotal: {
    name: "fairlead_scrapes_total",
    kind: "counter",
    help: "Scrapes of engine metrics by outcome.",
    labels: ["outcome"],
  },
  pollErrorsTotal: {
    name: "llm_d_epp_datalayer_poll_errors_total",
    kind: "counter",
    help: "Polls of a data source that brought nothing.",
    labels: ["source_type"],
  },
  extractErrorsTotal: {
    name: "llm_d_epp_datalayer_extract_errors_total",
    kind: "counter",
    help: "Answers in which something was missing that was there before, or could not be read.",
    labels: ["source_type", "extractor_type"],
  },
  scrapeSeconds: {
    name: "fairlead_scrape_duration_seconds",
    kind: "histogram",
    help: "Duration of a scrape.",
    labels: [],
    buckets: [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5],
  },
} as const satisfies Record<string, MetricDefinition>;
