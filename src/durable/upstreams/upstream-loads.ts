// Reads the load of upstreams that publish it: a gateway's endpoint picker tells two means of its pool.
//
//   configure ──► read ── ok ────────► sample        ┐
//                  ▲   └─ no answer, or no queue ──► │ nothing: the sample before ages
//                  └──────────── intervalMs ─────────┘
//
// It goes on for as long as the object is in memory, and no longer: nothing wakes an idle object to read.
// One that comes back reads at once, and until the first answer its endpoints count as never sampled,
// which is worse than any load. One read an upstream is under way at a time.

import type { Clock } from "../../scheduler/support/clock.ts";
import { parseMetricSpec } from "../../scheduler/data-layer/metric-spec.ts";
import type { EndpointSample } from "../../scheduler/model/endpoint-table.ts";
import {
  MULTICLUSTER_KV_USAGE,
  MULTICLUSTER_QUEUE_SIZE,
} from "../../scheduler/plugins/extractor/multicluster-metrics-extractor.ts";
import { scanPrometheus, type SeriesQuery } from "../../telemetry/prometheus-scanner.ts";
import type { Scrape } from "../endpoints.ts";
import type { PoolUpstream, UpstreamMetrics } from "./pool-upstream.ts";

/** From the request to the last byte. */
export const READ_DEADLINE_MS = 2_000;
/** Of one answer; llm-d reads as much of another cluster's. */
export const ANSWER_BYTES_MAX = 8 * 1024 * 1024;
/** How many endpoints a mean is of, under its name and the one before. */
const READY_ENDPOINTS = ["llm_d_epp_ready_endpoints", "inference_pool_ready_pods"] as const;

export interface UpstreamLoadsOptions {
  readonly clock: Clock;
  /** Fetches by a binding of this name; undefined where there is none. */
  readonly binding: (name: string) => Pick<Fetcher, "fetch"> | undefined;
  readonly scraped: (address: string, scrape: Scrape) => void;
}

export class UpstreamLoads {
  readonly #options: UpstreamLoadsOptions;
  #upstreams: readonly PoolUpstream[] = [];
  /** Ends the reading of #upstreams. */
  #stop = new AbortController();

  constructor(options: UpstreamLoadsOptions) {
    this.#options = options;
  }

  /** Reads these from now on. The same ones again change nothing. */
  configure(upstreams: readonly PoolUpstream[]): void {
    if (JSON.stringify(upstreams) === JSON.stringify(this.#upstreams)) return;
    this.#upstreams = upstreams;
    this.#stop.abort();
    this.#stop = new AbortController();
    for (const { name, metrics } of upstreams)
      if (metrics !== undefined) this.#readIn(0, { name, metrics, stop: this.#stop.signal });
  }

  #readIn(ms: number, reading: Reading): void {
    setTimeout(() => void this.#read(reading), ms);
  }

  /** Never rejects. */
  async #read(reading: Reading): Promise<void> {
    const { name, metrics, stop } = reading;
    if (stop.aborted) return;
    const startedMs = this.#options.clock();
    const scrape = await this.#scrape(metrics, startedMs);
    // What comes from the place before is nobody's any more.
    if (stop.aborted) return;
    try {
      this.#options.scraped(name, scrape);
    } finally {
      const tookMs = this.#options.clock() - startedMs;
      this.#readIn(Math.max(0, metrics.intervalMs - tookMs), reading);
    }
  }

  async #scrape(metrics: UpstreamMetrics, sampledAtMs: number): Promise<Scrape> {
    const text = await this.#text(metrics).catch(() => undefined);
    if (text === undefined) return { outcome: "unreachable", sampledAtMs, sample: {} };
    const sample = sampleOf(text, metrics);
    return sample === undefined
      ? { outcome: "malformed", sampledAtMs, sample: {} }
      : { outcome: "ok", sampledAtMs, sample };
  }

  /** Undefined if nobody gives it. */
  async #text({ url, token, binding }: UpstreamMetrics): Promise<string | undefined> {
    const headers = {
      accept: "text/plain",
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    };
    const signal = AbortSignal.timeout(READ_DEADLINE_MS);
    // A redirect would take the token elsewhere.
    const init = { headers, redirect: "manual", signal } as const;
    const response =
      binding === undefined
        ? await fetch(url, init)
        : await this.#options.binding(binding)?.fetch(url, init);
    if (response === undefined) return undefined;
    if (response.status !== 200 || response.body === null) {
      await response.body?.cancel();
      return undefined;
    }
    return readText(response.body);
  }
}

interface Reading {
  readonly name: string;
  readonly metrics: UpstreamMetrics;
  readonly stop: AbortSignal;
}

/** Undefined if it is longer than ANSWER_BYTES_MAX. */
async function readText(body: ReadableStream<Uint8Array>): Promise<string | undefined> {
  const decoder = new TextDecoder();
  let bytes = 0;
  let text = "";
  // Leaving the loop cancels the stream.
  for await (const chunk of body) {
    bytes += chunk.byteLength;
    if (bytes > ANSWER_BYTES_MAX) return undefined;
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}

/** Undefined without the queue's length. A KV usage that is not told is unknown, not what it was. */
export function sampleOf(
  text: string,
  { kvUsage, queueSize }: Pick<UpstreamMetrics, "kvUsage" | "queueSize">,
): EndpointSample | undefined {
  const queries = [...[queueSize, kvUsage].map(queryOf), ...READY_ENDPOINTS.map(asSeries)];
  const [queue, kv, ...ready] = scanPrometheus(text, queries);
  if (queue === undefined || queue < 0) return undefined;
  return {
    // A mean below 1 is still somebody who waits.
    waiting: Math.ceil(queue),
    kvUsage: kv ?? 1,
    replicas: ready.find((count) => count !== undefined && count >= 1) ?? 1,
    scalars: new Map([
      [MULTICLUSTER_QUEUE_SIZE, queue],
      [MULTICLUSTER_KV_USAGE, kv ?? Number.NaN],
    ]),
  };
}

/** The configuration was checked: what cannot be read here is of another release, and matches nothing. */
function queryOf(spec: string): SeriesQuery {
  const parsed = parseMetricSpec(spec);
  return parsed.ok ? parsed.source : { series: spec };
}

function asSeries(series: string): SeriesQuery {
  return { series };
}
