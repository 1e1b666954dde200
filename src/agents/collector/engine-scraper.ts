// Scrapes one endpoint: asks for its metrics again and again, one request at a time, and reads the
// fields that the pool's object asked for.

import { Client } from "undici";
import type { MetricRegistry } from "../../telemetry/metrics.ts";
import { METRIC } from "../../telemetry/names.ts";
import { SCRAPE_STATUS, type ScrapeStatus } from "../protocol/codec.ts";
import type { Configure, EndpointRecord, EngineType, MetricSpec } from "../protocol/messages.ts";
import { scanPrometheus, type SeriesQuery } from "./prometheus-scanner.ts";

/** A whole scrape, as llm-d bounds its polls. An engine too busy to answer counts as unreachable. */
const SCRAPE_TIMEOUT_MS = 1_000;
/** vLLM's text is 100 to 500 kB; more than this is not an engine's. */
export const SCRAPE_BYTES_MAX = 8 * 1024 * 1024;
/** Below uvicorn's 5 s, so that the engine never closes a connection in use. */
const KEEP_ALIVE_MS = 4_000;
/** Intervals vary by up to this share, so that endpoints do not beat in step. */
const JITTER = 0.1;

const METRICS_PATH: Record<EngineType, string> = {
  vllm: "/metrics",
  sglang: "/metrics",
  "trtllm-serve": "/prometheus/metrics",
};

/** What one scrape found. */
export interface ScrapeResult {
  readonly status: ScrapeStatus;
  /** By field in the order of `configure.metrics`; undefined where the engine has none. */
  readonly values: readonly (number | undefined)[];
}

export interface ScraperOptions {
  readonly endpoint: EndpointRecord;
  readonly configure: Configure;
  readonly registry: MetricRegistry;
  /** Called after each scrape. */
  onResult(result: ScrapeResult): void;
}

export class EngineScraper {
  readonly #options: ScraperOptions;
  readonly #client: Client;
  readonly #path: string;
  readonly #reader: FieldReader;
  readonly #stopped = new AbortController();
  #timer: NodeJS.Timeout | undefined;

  constructor(options: ScraperOptions) {
    this.#options = options;
    const { endpoint, configure } = options;
    this.#client = new Client(`http://${endpoint.address}`, {
      connectTimeout: SCRAPE_TIMEOUT_MS,
      keepAliveTimeout: KEEP_ALIVE_MS,
      keepAliveMaxTimeout: KEEP_ALIVE_MS,
      maxResponseSize: SCRAPE_BYTES_MAX,
    });
    this.#path = METRICS_PATH[endpoint.engine];
    this.#reader = createFieldReader(configure.metrics, endpoint.engine);
    // Scrapers start together; their first scrapes are spread over one interval.
    this.#schedule(Math.random() * configure.scrapeIntervalMs);
  }

  /** Stops at once; a scrape under way is abandoned and not reported. */
  stop(): void {
    this.#stopped.abort();
    clearTimeout(this.#timer);
    this.#client.destroy().catch(() => undefined);
  }

  #schedule(delayMs: number): void {
    this.#timer = setTimeout(() => void this.#tick(), delayMs);
  }

  async #tick(): Promise<void> {
    const { configure, registry } = this.#options;
    const startedAtMs = performance.now();
    const result = await this.#scrape();
    if (this.#stopped.signal.aborted) return;
    const tookMs = performance.now() - startedAtMs;
    registry.inc(METRIC.scrapesTotal, { outcome: OUTCOMES[result.status] });
    registry.observe(METRIC.scrapeSeconds, {}, tookMs / 1_000);
    this.#options.onResult(result);
    const jitter = 1 + JITTER * (2 * Math.random() - 1);
    this.#schedule(Math.max(0, configure.scrapeIntervalMs * jitter - tookMs));
  }

  async #scrape(): Promise<ScrapeResult> {
    let text: string;
    try {
      const response = await this.#client.request({
        method: "GET",
        path: this.#path,
        headers: { accept: "text/plain;version=0.0.4" },
        signal: AbortSignal.any([this.#stopped.signal, AbortSignal.timeout(SCRAPE_TIMEOUT_MS)]),
      });
      if (response.statusCode !== 200) {
        await response.body.dump();
        return { status: SCRAPE_STATUS.malformed, values: [] };
      }
      text = await response.body.text();
    } catch (error) {
      // Refused, reset, timed out, or larger than allowed.
      const isTooLarge = (error as NodeJS.ErrnoException).code === "UND_ERR_RES_EXCEEDED_MAX_SIZE";
      const status = isTooLarge ? SCRAPE_STATUS.malformed : SCRAPE_STATUS.unreachable;
      return { status, values: [] };
    }
    const values = this.#reader(text);
    const isEmpty = values.every((value) => value === undefined);
    return { status: isEmpty ? SCRAPE_STATUS.malformed : SCRAPE_STATUS.ok, values };
  }
}

const OUTCOMES: Record<ScrapeStatus, string> = {
  [SCRAPE_STATUS.ok]: "ok",
  [SCRAPE_STATUS.unreachable]: "unreachable",
  [SCRAPE_STATUS.malformed]: "malformed",
};

type FieldReader = (text: string) => (number | undefined)[];

/** Reads every field from its first source that is present, in one scan of the text. */
function createFieldReader(specs: readonly MetricSpec[], engine: EngineType): FieldReader {
  const sources: SeriesQuery[][] = specs.map((spec) => spec.sources[engine] ?? []);
  const queries = sources.flat();
  return (text) => {
    const found = scanPrometheus(text, queries);
    let next = 0;
    return sources.map((alternatives) => {
      const mine = found.slice(next, (next += alternatives.length));
      return mine.find((value) => value !== undefined);
    });
  };
}
