import { MetricRegistry } from "../telemetry/metrics.ts";

/** The metrics of this isolate. There is no sum over isolates: scrape the pools' objects for that. */
export const metrics = new MetricRegistry();
