// A pool's KV events: one subscriber a publisher, as endpoints come and go; or one bound socket to which
// publishers dial.

import { Context } from "zeromq";
import type { KvEventConsumer, KvEventSource } from "../../../scheduler/kv/residency/kv-event.ts";
import type { MetricRegistry } from "../../../telemetry/metrics.ts";
import { METRIC } from "../../../telemetry/names.ts";
import type { Logger } from "../../process/logger.ts";
import type { EndpointRecord } from "../../protocol/messages.ts";
import { CATCH_UP_LIMITS, Gate, REPLAYS_MAX, type CatchUpLimits } from "./catch-up.ts";
import { KvEventCounts } from "./counters.ts";
import { DialledPublishers } from "./dialled-publishers.ts";
import { targetsOf, type KvEventPorts } from "./event-urls.ts";
import {
  KvSubscriber,
  SUBSCRIBER_TIMING,
  type SubscriberShared,
  type SubscriberTiming,
} from "./kv-subscriber.ts";
import { PublisherAccount } from "./publisher-account.ts";

/**
 * Sockets of ZeroMQ's context, three for a subscriber and its events. Publishers followed at once are
 * bounded by it; an endpoint's ranks count each.
 */
const SOCKETS_MAX = 16_384;
export const PUBLISHERS_MAX = 4_096;
/** The label under which pool-wide storage is counted. */
const STORAGE = "storage";

/** How publishers are reached. */
export type KvEventsMode =
  | {
      readonly type: "connect";
      readonly ports: KvEventPorts;
      /** Publishers of storage that endpoints share. */
      readonly storageUrls: readonly string[];
    }
  | {
      readonly type: "bind";
      /** A ZeroMQ address. */
      readonly url: string;
    };

export interface KvEventsOptions {
  readonly mode: KvEventsMode;
  readonly consumer: KvEventConsumer;
  readonly logger: Logger;
  readonly registry: MetricRegistry;
  readonly timing?: Partial<SubscriberTiming>;
  readonly catchUpLimits?: Partial<CatchUpLimits>;
}

interface Followed {
  readonly source: KvEventSource;
  readonly account: PublisherAccount;
  readonly subscriber: KvSubscriber;
}

export class KvEvents {
  readonly #options: KvEventsOptions;
  readonly #shared: SubscriberShared;
  readonly #counts = new KvEventCounts();
  /** By everything that a change of would mean another publisher. */
  readonly #followed = new Map<string, Followed>();
  #dialled: DialledPublishers | undefined;
  #mistakes = "";

  private constructor(options: KvEventsOptions) {
    this.#options = options;
    this.#shared = {
      context: new Context({ maxSockets: SOCKETS_MAX }),
      gate: new Gate(REPLAYS_MAX),
      logger: options.logger,
      timing: { ...SUBSCRIBER_TIMING, ...options.timing },
      catchUpLimits: { ...CATCH_UP_LIMITS, ...options.catchUpLimits },
    };
    options.registry.onRender(() => this.#render());
  }

  /** Rejects if the address to bind cannot be had. */
  static async start(options: KvEventsOptions): Promise<KvEvents> {
    const events = new KvEvents(options);
    const { mode, consumer } = options;
    if (mode.type === "bind") {
      events.#dialled = await DialledPublishers.bind(mode.url, {
        consumer,
        counts: events.#counts,
        shared: events.#shared,
      });
    }
    return events;
  }

  /** Where publishers dial, with the port that was free; undefined where they do not. */
  get boundUrl(): string | undefined {
    return this.#dialled?.boundUrl;
  }

  /** By endpoint: whether all its publishers were heard from their beginnings on, and are now. */
  whole(): Map<string, boolean> {
    const whole = new Map<string, boolean>(this.#dialled?.whole());
    for (const { source, account, subscriber } of this.#followed.values()) {
      const endpoint = source.endpoint ?? STORAGE;
      const isWhole = account.isWhole && subscriber.isCurrent;
      whole.set(endpoint, (whole.get(endpoint) ?? true) && isWhole);
    }
    return whole;
  }

  /** Endpoints whose blocks are those of several caches, of which requests meet one. */
  *ofSeveralRanks(): Iterable<string> {
    for (const [endpoint, publishers] of Map.groupBy(this.#accounts(), (each) => each.endpoint)) {
      if (endpoint !== null && publishers.length > 1) yield endpoint;
    }
  }

  /** Follows these endpoints and no others. */
  follow(endpoints: readonly EndpointRecord[]): void {
    const { mode } = this.#options;
    if (mode.type === "bind") {
      this.#tell(this.#dialled!.follow(endpoints));
      this.#counts.keep(endpoints);
      return;
    }
    const { targets, mistakes } = targetsOf(endpoints, mode.ports);
    const storage = mode.storageUrls.map((eventsUrl, rank) => ({
      endpoint: null,
      rank,
      eventsUrl,
      replayUrl: null,
    }));
    const all = [...storage, ...targets];
    const tooMany = `${all.length} publishers, of which ${PUBLISHERS_MAX} are followed`;
    this.#tell(all.length > PUBLISHERS_MAX ? [...mistakes, tooMany] : mistakes);
    const wanted = new Map(
      all.slice(0, PUBLISHERS_MAX).map((target) => {
        const { endpoint, rank, eventsUrl, replayUrl } = target;
        return [JSON.stringify([endpoint, rank, eventsUrl, replayUrl]), target] as const;
      }),
    );
    for (const [key, { subscriber }] of this.#followed) {
      if (wanted.has(key)) continue;
      this.#followed.delete(key);
      subscriber.close();
    }
    this.#counts.keep(endpoints);
    for (const [key, { endpoint, rank, eventsUrl, replayUrl }] of wanted) {
      if (this.#followed.has(key)) continue;
      const source: KvEventSource = { endpoint, rank };
      const counts = this.#counts.of(endpoint ?? STORAGE);
      const account = new PublisherAccount({ source, consumer: this.#options.consumer, counts });
      const subscriber = new KvSubscriber({
        eventsUrl,
        replayUrl,
        account,
        counts,
        shared: this.#shared,
      });
      this.#followed.set(key, { source, account, subscriber });
    }
  }

  /** The endpoint's engine seems to be a new process, since that time in seconds since 1970. */
  engineRestarted(endpoint: string, startedAtS: number): void {
    for (const { source, subscriber } of this.#followed.values()) {
      if (source.endpoint === endpoint) subscriber.engineRestarted(startedAtS);
    }
    for (const dialled of this.#dialled?.all() ?? []) {
      if (dialled.endpoint === endpoint) dialled.publisher.engineRestarted(startedAtS);
    }
  }

  /**
   * Ends doubts that are over. `blocksOf` gives how many blocks the caches of an endpoint's ranks have room
   * for together, undefined where that is not known.
   */
  endDoubts(blocksOf: (endpoint: string) => number | undefined): void {
    const byEndpoint = Map.groupBy(this.#accounts(), ({ endpoint }) => endpoint);
    for (const [endpoint, publishers] of byEndpoint) {
      const blocks = endpoint === null ? undefined : blocksOf(endpoint);
      if (blocks === undefined) continue;
      for (const { account } of publishers) account.endDoubt(blocks / publishers.length);
    }
  }

  close(): void {
    for (const { subscriber } of this.#followed.values()) subscriber.close();
    this.#followed.clear();
    this.#dialled?.close();
  }

  *#accounts(): Iterable<{ endpoint: string | null; account: PublisherAccount }> {
    for (const { endpoint, publisher } of this.#dialled?.all() ?? []) {
      yield { endpoint, account: publisher.account };
    }
    for (const { source, account } of this.#followed.values()) {
      yield { endpoint: source.endpoint, account };
    }
  }

  #tell(mistakes: readonly string[]): void {
    const told = JSON.stringify(mistakes);
    if (told === this.#mistakes) return;
    this.#mistakes = told;
    if (mistakes.length > 0) {
      this.#options.logger.error({ mistakes }, "kv events are not followed as asked");
    }
  }

  #render(): void {
    const { registry } = this.#options;
    this.#counts.render(registry);
    registry.reset(METRIC.kvEventsWhole);
    let connected = 0;
    for (const { subscriber } of this.#followed.values()) if (subscriber.isConnected) connected++;
    for (const [endpoint, isWhole] of this.whole()) {
      registry.set(METRIC.kvEventsWhole, { endpoint }, isWhole ? 1 : 0);
    }
    registry.set(METRIC.kvSubscribersActive, {}, connected + (this.#dialled?.size ?? 0));
  }
}
