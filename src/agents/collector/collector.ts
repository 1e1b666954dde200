// The collector: scrapes every endpoint it discovered and tells the pool's object.
//
// The object says what to read and how often (`configure`); until then nothing is scraped. Results
// gather for FLUSH_MS, so that a pool of hundreds of endpoints costs a few frames per interval and
// not one per endpoint. While the session is down, results are dropped: only the newest of each
// endpoint is kept, and after a reconnect everything is said again.
//
// KV events, where they are asked for, go their own way: kv-residency.ts.

import type { EndpointSource } from "../discovery/endpoint-source.ts";
import { type EndpointsFrom, startEndpointSource } from "../discovery/start-endpoint-source.ts";
import type { ListenAddress } from "../process/listen.ts";
import type { Logger } from "../process/logger.ts";
import { encodeFrame, encodeMetrics, FRAME, type FramePlace } from "../protocol/codec.ts";
import type { Configure, EndpointRecord } from "../protocol/messages.ts";
import type { WireSpecification, WireTarget } from "../protocol/metrics-specification.ts";
import { PoolSession, type SessionTiming } from "../session/pool-session.ts";
import type { MetricRegistry } from "../../telemetry/metrics.ts";
import { EngineScraper } from "./engine-scraper.ts";
import type { KvEventsMode } from "./kv-events/kv-events.ts";
import { KvResidency } from "./kv-residency.ts";
import { MetricsLedger } from "./metrics-ledger.ts";
import { ModelsLedger } from "./models-ledger.ts";
import type { KvKeys } from "./token-keys/flags.ts";
import { ResourcesTeller } from "./resources-teller.ts";
import { readTlsFiles, type TlsOptions } from "./scrape-client.ts";

/** How long results gather before a frame is sent. */
const FLUSH_MS = 20;

export type CollectorOptions = EndpointsFrom & {
  readonly pool: string;
  readonly agent: string;
  readonly connect: URL;
  readonly token: string;
  readonly logger: Logger;
  readonly registry: MetricRegistry;
  readonly sessionTiming?: Partial<SessionTiming>;
  /** Absent: the engines' KV events are not read. */
  readonly kvEvents?: {
    readonly mode: KvEventsMode;
    /** What the object is told of; content where absent. */
    readonly keys?: KvKeys;
    /** Where relays tell what content became; null: nowhere. */
    readonly learnListen: ListenAddress | null;
  };
};

export interface Collector {
  /** Connected, and nothing of its endpoints needs repair. */
  readonly isHealthy: boolean;
  readonly endpointCount: number;
  readonly problem: string | undefined;
  /** As EndpointSource has it. */
  readonly discovery: EndpointSource["health"];
  /** Where publishers of KV events dial, if they do. */
  readonly kvEventsUrl: string | undefined;
  /** Where relays tell what content became, if they do. */
  readonly learnPort: number | undefined;
  close(): Promise<void>;
}

/** Starts collecting. Rejects if there are no first endpoints, or an address to listen on cannot be used. */
export async function startCollector(options: CollectorOptions): Promise<Collector> {
  const source = await startEndpointSource({ ...options, withResources: true });
  const { kvEvents, token, logger, registry } = options;
  let collector: PoolCollector | undefined;
  try {
    const send: PoolSession["send"] = (encode) => collector?.send(encode) ?? false;
    const residency =
      kvEvents === undefined
        ? undefined
        : await KvResidency.start({ ...kvEvents, token, send, logger, registry });
    collector = new PoolCollector(options, source, residency);
    return collector;
  } catch (error) {
    source.close();
    throw error;
  }
}

class PoolCollector implements Collector {
  readonly #options: CollectorOptions;
  readonly #source: EndpointSource;
  readonly #residency: KvResidency | undefined;
  readonly #session: PoolSession;
  readonly #ledger = new MetricsLedger();
  readonly #models = new ModelsLedger();
  readonly #resources: ResourcesTeller | undefined;
  readonly #flush: NodeJS.Timeout;
  #configure: Configure | undefined;
  /** The object of this connection has said what `#configure` holds. */
  #isConfigured = false;
  #scrapers: EngineScraper[] = [];
  /** The object does not hold the current membership. Rows refer to it, so it goes first. */
  #isMembershipDue = true;

  constructor(
    options: CollectorOptions,
    source: EndpointSource,
    residency: KvResidency | undefined,
  ) {
    this.#options = options;
    this.#source = source;
    this.#residency = residency;
    this.#resources = source.resources && new ResourcesTeller(source.resources);
    source.onResources?.(() => this.#resources?.changed());
    residency?.follow(source.endpoints);
    this.#ledger.reset(source.endpoints.length);
    this.#models.reset(source.endpoints.length);
    source.onChange((endpoints) => {
      residency?.follow(endpoints);
      this.#restart();
    });
    this.#session = new PoolSession({
      ...options,
      role: "collector",
      ...(options.sessionTiming === undefined ? {} : { timing: options.sessionTiming }),
      events: {
        onWelcome: () => {
          this.#isConfigured = false;
          residency?.connected();
        },
        onResync: () => {
          this.#isMembershipDue = true;
          this.#ledger.forgetSent();
          this.#models.forgetSent();
          this.#resources?.forgetSent();
        },
        onAck: () => undefined,
        onConfigure: (configure) => {
          // Said again after every reconnect.
          this.#isConfigured = true;
          residency?.configured(configure);
          this.#resources?.configured(configure);
          if (JSON.stringify(configure) === JSON.stringify(this.#configure)) return;
          this.#configure = configure;
          this.#restart();
        },
        onKv: (message) => residency?.received(message),
      },
    });
    this.#flush = setInterval(() => this.#sendDue(), FLUSH_MS);
  }

  get isHealthy(): boolean {
    return this.#session.isEstablished && this.#source.problem === undefined;
  }

  get endpointCount(): number {
    return this.#source.endpoints.length;
  }

  get problem(): string | undefined {
    return this.#session.isEstablished
      ? this.#source.problem
      : "not connected to the pool's object";
  }

  get discovery(): EndpointSource["health"] {
    return this.#source.health;
  }

  get kvEventsUrl(): string | undefined {
    return this.#residency?.boundUrl;
  }

  get learnPort(): number | undefined {
    return this.#residency?.learnPort;
  }

  async close(): Promise<void> {
    this.#source.close();
    clearInterval(this.#flush);
    for (const scraper of this.#scrapers) scraper.stop();
    await Promise.all([this.#residency?.close(), this.#session.close()]);
  }

  /** Scrapes the endpoints and fields as they are now. */
  #restart(): void {
    for (const scraper of this.#scrapers) scraper.stop();
    this.#scrapers = [];
    this.#isMembershipDue = true;
    this.#ledger.reset(this.#source.endpoints.length);
    this.#models.reset(this.#source.endpoints.length);
    const configure = this.#configure;
    if (configure === undefined) return;
    const { registry } = this.#options;
    const tls = this.#tlsFiles();
    this.#scrapers = this.#source.endpoints.map(
      (endpoint, index) =>
        new EngineScraper({
          endpoint,
          configure,
          registry,
          tls,
          onResult: (result) => {
            if (result.isNewProcess) this.#models.engineRestarted(index);
            if (configure.specification !== undefined) {
              this.#residency?.engineRead(endpoint.id, result);
            }
            this.#ledger.observe(index, result, performance.now());
          },
          onLora: (lora) => this.#models.lora(index, lora),
          onModels: (models) => this.#models.models(index, models),
        }),
    );
  }

  /** Certificates, each file read once a restart. Where one cannot be read, nothing is trusted. */
  #tlsFiles(): (target: WireTarget) => TlsOptions {
    const read = new Map<string, TlsOptions>();
    return ({ tls }) => {
      const key = JSON.stringify(tls);
      const known = read.get(key);
      if (known !== undefined) return known;
      let options: TlsOptions = { rejectUnauthorized: true };
      try {
        options = readTlsFiles(tls);
      } catch (err) {
        this.#options.logger.error({ err }, "cannot read a certificate for scraping");
      }
      read.set(key, options);
      return options;
    };
  }

  /** A frame of what is not kept here; see PoolSession. */
  send(encode: (place: FramePlace) => Uint8Array): boolean {
    return this.#session.send(encode);
  }

  #sendDue(): void {
    this.#sendMetrics();
    if (this.#isConfigured) this.#resources?.flush((encode) => this.#session.send(encode));
    this.#residency?.flush();
  }

  #sendMetrics(): void {
    // An object that is there again is about to say what it wants; it may be another release.
    if (this.#configure !== undefined && !this.#isConfigured) return;
    if (this.#isMembershipDue) {
      const payload = encodeMembership(this.#source.endpoints, this.#configure?.specification);
      const encode = (place: FramePlace) =>
        encodeFrame({ type: FRAME.membership, ...place }, payload);
      if (!this.#session.send(encode)) return;
      this.#isMembershipDue = false;
      this.#residency?.listed();
    }
    const rows = this.#ledger.rows(performance.now());
    if (rows.length > 0) {
      if (!this.#session.send((place) => encodeMetrics(place, rows))) return;
      this.#ledger.confirm();
    }
    // After the rows: they say that an engine is a new one, and then what it has loaded.
    if (this.#configure?.specification !== undefined) this.#sendModels();
  }

  #sendModels(): void {
    for (;;) {
      const frame = this.#models.frame();
      if (frame === undefined) return;
      const payload = Buffer.from(JSON.stringify(frame.payload));
      const isSent = this.#session.send((place) =>
        encodeFrame({ type: FRAME.models, ...place }, payload),
      );
      if (!isSent) return;
      frame.confirm();
    }
  }
}

/** Keys of scalars are for an object that sent a specification; others refuse them. */
function encodeMembership(
  endpoints: readonly EndpointRecord[],
  specification: WireSpecification | undefined,
): Uint8Array {
  const scalars = specification?.scalars ?? [];
  return Buffer.from(JSON.stringify(scalars.length === 0 ? { endpoints } : { endpoints, scalars }));
}
