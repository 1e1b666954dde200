// Reads one endpoint: its engine's metrics, and whatever else the pool's object asked for. Every source
// has a loop of its own, so that one that hangs delays no other.

import type { MetricRegistry } from "../../telemetry/metrics.ts";
import { METRIC } from "../../telemetry/names.ts";
import { SCRAPE_STATUS, type ScrapeStatus } from "../protocol/codec.ts";
import type { Configure, EndpointRecord, EngineType } from "../protocol/messages.ts";
import {
  engineOf,
  ROW_FIELDS,
  type WireExporter,
  type WireSpecification,
  type WireTarget,
} from "../protocol/metrics-specification.ts";
import { EndpointReadings, type ScrapeResult } from "./endpoint-readings.ts";
import {
  createEngineExtraction,
  createExporterExtraction,
  createPlainExtraction,
  type EngineExtraction,
  type LoraReading,
} from "./extraction.ts";
import { parseModelsList } from "./models-list.ts";
import { PollLoop } from "./poll-loop.ts";
import { originOf, ScrapeClient, type TlsOptions } from "./scrape-client.ts";

const METRICS_PATH = "/metrics";
const MODELS_PATH = "/v1/models";
const PROMETHEUS = "text/plain;version=0.0.4";
/** Model lists change when somebody loads a model; nothing waits for them. */
const MODELS_INTERVAL_MS = 10_000;
/** DCGM measures every 30 s unless told otherwise. */
const EXPORTER_INTERVAL_MS = 1_000;

/** Where metrics are without a specification. */
const PLAIN_PATH: Record<EngineType, string> = {
  vllm: METRICS_PATH,
  sglang: METRICS_PATH,
  "trtllm-serve": "/prometheus/metrics",
};

/** As poll errors are labelled. */
type Source = "metrics-data-source" | "models-data-source" | "exporter";

export interface ScraperOptions {
  readonly endpoint: EndpointRecord;
  readonly configure: Configure;
  readonly registry: MetricRegistry;
  /** Certificates for a target. */
  tls(target: WireTarget): TlsOptions;
  /** Called after each scrape of the engine, or of the exporters where the engine is not read. */
  onResult(result: ScrapeResult): void;
  /** Called when adapters were named, after the result that they came with. */
  onLora(lora: LoraReading): void;
  /** Called after each answer with a list of models. */
  onModels(models: readonly string[]): void;
}

export class EngineScraper {
  readonly #options: ScraperOptions;
  readonly #readings: EndpointReadings;
  readonly #loops: PollLoop[] = [];
  readonly #clients: ScrapeClient[] = [];
  #isStopped = false;

  constructor(options: ScraperOptions) {
    this.#options = options;
    const { endpoint, configure } = options;
    const { specification, metrics, scrapeIntervalMs } = configure;
    const scalarCount = specification?.scalars.length ?? 0;
    const fieldCount =
      specification === undefined ? metrics.length : ROW_FIELDS.length + scalarCount;
    const engineIntervalMs = specification?.metrics?.intervalMs ?? scrapeIntervalMs;
    this.#readings = new EndpointReadings({
      fieldCount,
      scalarCount,
      engineIntervalMs,
      isSpecified: specification !== undefined,
    });
    if (specification !== undefined) {
      this.#follow(specification);
      return;
    }
    const client = this.#track(new ScrapeClient(`http://${endpoint.address}`));
    const extract = createPlainExtraction(metrics, endpoint.engine);
    const path = PLAIN_PATH[endpoint.engine];
    this.#poll(scrapeIntervalMs, () => this.#scrapeEngine(client, path, extract));
  }

  /** Stops at once; scrapes under way are abandoned and not reported. */
  stop(): void {
    this.#isStopped = true;
    for (const loop of this.#loops) loop.stop();
    for (const client of this.#clients) client.close();
  }

  #follow(specification: WireSpecification): void {
    const { endpoint, configure } = this.#options;
    const { metrics, models, exporters, scalars } = specification;
    const engine = engineOf(specification, endpoint.labels);
    if (metrics !== null && engine !== undefined) {
      const client = this.#connect(metrics, "metrics-data-source");
      const extract = createEngineExtraction(engine, scalars.length);
      const path = metrics.path ?? engine.path ?? METRICS_PATH;
      const intervalMs = metrics.intervalMs ?? configure.scrapeIntervalMs;
      this.#poll(intervalMs, () => this.#scrapeEngine(client, path, extract));
    }
    for (const exporter of exporters) this.#followExporter(exporter, metrics === null);
    if (models !== null) {
      const client = this.#connect(models, "models-data-source");
      this.#poll(models.intervalMs ?? MODELS_INTERVAL_MS, () =>
        this.#askModels(client, models.path ?? MODELS_PATH),
      );
    }
  }

  #followExporter(exporter: WireExporter, isAlone: boolean): void {
    const { target } = exporter;
    const client = this.#connect(target, "exporter");
    const extract = createExporterExtraction(exporter, namesOf(this.#options.endpoint));
    const intervalMs = target.intervalMs ?? EXPORTER_INTERVAL_MS;
    this.#poll(intervalMs, async () => {
      const scraped = await client.get(target.path ?? METRICS_PATH, PROMETHEUS);
      if (this.#isStopped) return;
      if (!scraped.ok) this.#countPollError("exporter");
      else this.#readings.scalarsRead(extract(scraped.text), performance.now(), intervalMs);
      if (!isAlone) return;
      this.#options.onResult(
        scraped.ok
          ? this.#readings.scalarsOnly(performance.now())
          : this.#readings.engineFailed(scraped.status),
      );
    });
  }

  async #scrapeEngine(
    client: ScrapeClient,
    path: string,
    extract: EngineExtraction,
  ): Promise<void> {
    const startedAtMs = performance.now();
    const scraped = await client.get(path, PROMETHEUS);
    if (this.#isStopped) return;
    const nowMs = performance.now();
    const reading = scraped.ok ? extract(scraped.text) : undefined;
    const result =
      reading === undefined || !scraped.ok
        ? this.#readings.engineFailed(scraped.ok ? SCRAPE_STATUS.malformed : scraped.status)
        : this.#readings.engineRead(reading, nowMs);
    this.#count(result, nowMs - startedAtMs);
    this.#options.onResult(result);
    if (reading?.lora !== undefined) this.#options.onLora(reading.lora);
  }

  async #askModels(client: ScrapeClient, path: string): Promise<void> {
    const scraped = await client.get(path, "application/json");
    if (this.#isStopped) return;
    const models = scraped.ok ? parseModelsList(scraped.text) : undefined;
    if (models === undefined) this.#countPollError("models-data-source");
    else this.#options.onModels(models);
  }

  #count({ status, isPartial }: ScrapeResult, tookMs: number): void {
    const { registry } = this.#options;
    registry.inc(METRIC.scrapesTotal, { outcome: OUTCOMES[status] });
    registry.observe(METRIC.scrapeSeconds, {}, tookMs / 1_000);
    if (status === SCRAPE_STATUS.unreachable) this.#countPollError("metrics-data-source");
    if (status !== SCRAPE_STATUS.malformed && !isPartial) return;
    registry.inc(METRIC.extractErrorsTotal, {
      source_type: "metrics-data-source",
      extractor_type: "core-metrics-extractor",
    });
  }

  #countPollError(source: Source): void {
    this.#options.registry.inc(METRIC.pollErrorsTotal, { source_type: source });
  }

  #connect(target: WireTarget, source: Source): ScrapeClient {
    const tls = target.scheme === "https" ? this.#options.tls(target) : undefined;
    const { url, isLabelBad } = originOf(target, this.#options.endpoint);
    if (isLabelBad) this.#countPollError(source);
    return this.#track(new ScrapeClient(url, tls));
  }

  #track(client: ScrapeClient): ScrapeClient {
    this.#clients.push(client);
    return client;
  }

  #poll(intervalMs: number, poll: () => Promise<void>): void {
    this.#loops.push(new PollLoop(intervalMs, poll));
  }
}

const OUTCOMES: Record<ScrapeStatus, string> = {
  [SCRAPE_STATUS.ok]: "ok",
  [SCRAPE_STATUS.unreachable]: "unreachable",
  [SCRAPE_STATUS.malformed]: "malformed",
};

/** What others' metrics call the endpoint: its name, and that of its pod if it is one rank of it. */
function namesOf({ id }: EndpointRecord): string[] {
  const name = id.slice(id.indexOf("/") + 1);
  return [name, name.replace(/-rank-\d+$/, "")];
}
