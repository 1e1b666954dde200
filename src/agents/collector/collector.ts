// The collector: scrapes every endpoint it discovered and tells the pool's objects, each of which has a
// ShardTeller.
//
// The first object says what to read and how often (`configure`); until then nothing is scraped. Results
// gather for FLUSH_MS, so that a pool of hundreds of endpoints costs a few frames per interval and
// not one per endpoint. While a session is down, results are dropped: only the newest of each
// endpoint is kept, and after a reconnect everything is said again. The cluster's resources are told to the
// first object only.
//
// KV events, where they are asked for, go their own way: kv-residency.ts.

import type { EndpointSource } from "../discovery/endpoint-source.ts";
import { type EndpointsFrom, startEndpointSource } from "../discovery/start-endpoint-source.ts";
import type { ListenAddress } from "../process/listen.ts";
import type { Logger } from "../process/logger.ts";
import type { FramePlace } from "../protocol/codec.ts";
import type { Configure } from "../protocol/messages.ts";
import type { WireTarget } from "../protocol/metrics-specification.ts";
import type { PoolSession, SessionTiming } from "../session/pool-session.ts";
import { ShardSessions } from "../session/shard-sessions.ts";
import type { MetricRegistry } from "../../telemetry/metrics.ts";
import { EngineScraper } from "./engine-scraper.ts";
import type { KvEventsMode } from "./kv-events/kv-events.ts";
import { KvResidency, type KvResidencyOptions } from "./kv-residency.ts";
import type { KvKeys } from "./token-keys/flags.ts";
import { ResourcesTeller } from "./resources-teller.ts";
import { readTlsFiles, type TlsOptions } from "./scrape-client.ts";
import { ShardTeller } from "./shard-teller.ts";

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
    const send: KvResidencyOptions["send"] = (encode, shard) =>
      collector?.send(encode, shard) ?? false;
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
  readonly #sessions: ShardSessions<ShardTeller>;
  readonly #resources: ResourcesTeller | undefined;
  readonly #flush: NodeJS.Timeout;
  /** As the first object has said it. */
  #configure: Configure | undefined;
  #scrapers: EngineScraper[] = [];

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
    source.onChange((endpoints) => {
      residency?.follow(endpoints);
      this.#restart();
    });
    this.#sessions = new ShardSessions({
      ...options,
      role: "collector",
      timing: options.sessionTiming,
      open: (shard, session) => this.#open(shard, session),
      onMap: (map) => residency?.mapped(map),
    });
    this.#flush = setInterval(() => this.#sendDue(), FLUSH_MS);
  }

  get isHealthy(): boolean {
    return this.#sessions.isEstablished && this.#source.problem === undefined;
  }

  get endpointCount(): number {
    return this.#source.endpoints.length;
  }

  get problem(): string | undefined {
    if (this.#sessions.isEstablished) return this.#source.problem;
    const { count } = this.#sessions.map;
    return `not connected to ${count === 1 ? "the pool's object" : `all ${count} objects of the pool`}`;
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
    await Promise.all([this.#residency?.close(), this.#sessions.close()]);
  }

  #open(shard: number, session: PoolSession): ShardTeller {
    const isFirst = shard === 0;
    return new ShardTeller({
      shard,
      session,
      endpoints: () => this.#source.endpoints,
      read: () => this.#configure,
      residency: this.#residency,
      resources: isFirst ? this.#resources : undefined,
      onConfigure: (configure) => {
        if (isFirst) this.#read(configure);
      },
    });
  }

  #read(configure: Configure): void {
    // How the pool is spread is nothing that endpoints are asked for.
    const { shards: _, ...asked } = configure;
    if (JSON.stringify(asked) === JSON.stringify(this.#configure)) return;
    this.#configure = asked;
    this.#restart();
  }

  /** Scrapes the endpoints and fields as they are now. */
  #restart(): void {
    for (const scraper of this.#scrapers) scraper.stop();
    this.#scrapers = [];
    for (const teller of this.#sessions.uses) teller.restart();
    const configure = this.#configure;
    if (configure === undefined) return;
    const { registry } = this.#options;
    const tls = this.#tlsFiles();
    const tellers = () => this.#sessions.uses;
    this.#scrapers = this.#source.endpoints.map(
      (endpoint, index) =>
        new EngineScraper({
          endpoint,
          configure,
          registry,
          tls,
          onResult: (result) => {
            if (configure.specification !== undefined) {
              this.#residency?.engineRead(endpoint.id, result);
            }
            const nowMs = performance.now();
            for (const teller of tellers()) teller.observe(index, result, nowMs);
          },
          onLora: (lora) => tellers().forEach((teller) => teller.lora(index, lora)),
          onModels: (models) => tellers().forEach((teller) => teller.models(index, models)),
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

  /** A frame of what is not kept here, to a shard's object; see PoolSession. */
  send(encode: (place: FramePlace) => Uint8Array, shard: number): boolean {
    return this.#sessions.use(shard)?.session.send(encode) ?? false;
  }

  #sendDue(): void {
    const nowMs = performance.now();
    for (const teller of this.#sessions.uses) teller.flush(nowMs);
    this.#residency?.flush();
  }
}
