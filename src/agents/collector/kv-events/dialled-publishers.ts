// Publishers that dial: one bound socket, on which messages of all of them arrive mixed. The topic and
// the batch say whose they are. Who is told to offer replays by a label of its endpoint is asked for what was missed.
//
//   kv@10.0.0.7:8000@model        endpoint by its address, id or name; rank by the batch
//   kv@SHARED_STORAGE@model       pool-wide storage
//
// A name that endpoints of two namespaces have is nobody's: they are heard by their ids and addresses only.
//
// Every message of a publisher is decoded before it is known whose it is, duplicates too.

import { Subscriber } from "zeromq";
import { KV_EVENT_LIMITS, type KvEventConsumer } from "../../../scheduler/kv/residency/kv-event.ts";
import type { EndpointRecord } from "../../protocol/messages.ts";
import type { KvEventCounts } from "./counters.ts";
import { BATCH_BYTES_MAX, decodeBatch } from "./decode-batch.ts";
import { DialledPublisher } from "./dialled-publisher.ts";
import { replayUrlsOf, URL_MISTAKES_MAX } from "./event-urls.ts";
import { parseLiveFrames, parseTopic } from "./frames.ts";
import { MESSAGES_WAITING_MAX, type SubscriberShared } from "./kv-subscriber.ts";

/** Publishers whose numbering is followed: endpoints times ranks, and storage tiers. */
export const DIALLED_MAX = 4_096;
/** What stands for a pod where the cache belongs to none. */
const STORAGE_PODS: readonly string[] = ["SHARED_STORAGE", "OBJECT_STORE"];
const STORAGE = "storage";
const TOPIC_FILTER = "kv@";

export interface DialledOptions {
  readonly consumer: KvEventConsumer;
  readonly counts: KvEventCounts;
  readonly shared: SubscriberShared;
}

export interface Dialled {
  /** The endpoint's id; null for storage. */
  readonly endpoint: string | null;
  /** As its batches say. */
  readonly rank: number;
  /** Among the endpoint's publishers. */
  readonly position: number;
  /** What its topic called it last. */
  readonly pod: string;
  readonly publisher: DialledPublisher;
}

export class DialledPublishers {
  readonly #options: DialledOptions;
  readonly #socket: Subscriber;
  /** By endpoint and rank. */
  readonly #publishers = new Map<string, Dialled>();
  /** Endpoint ids by what a topic may call them. */
  #names = new Map<string, string>();
  /** Of endpoint ids, by rank. */
  #replayUrls = new Map<string, ReadonlyMap<number, string>>();

  private constructor(options: DialledOptions, socket: Subscriber) {
    this.#options = options;
    this.#socket = socket;
  }

  /** Rejects if the address cannot be had. */
  static async bind(url: string, options: DialledOptions): Promise<DialledPublishers> {
    const { context, timing, logger } = options.shared;
    const socket = new Subscriber({
      context,
      linger: 0,
      ipv6: url.includes("["),
      receiveHighWaterMark: MESSAGES_WAITING_MAX,
      maxMessageSize: BATCH_BYTES_MAX,
      // A host that died says nothing: its link is lost when a probe is not answered.
      heartbeatInterval: timing.heartbeatMs,
      heartbeatTimeout: timing.heartbeatMs * 2,
    });
    await socket.bind(url);
    socket.subscribe(TOPIC_FILTER);
    const publishers = new DialledPublishers(options, socket);
    socket.events.on("disconnect", () => publishers.#linkLost());
    publishers.#read().catch((err: unknown) => {
      logger.error({ err }, "kv events cannot be read");
    });
    return publishers;
  }

  get boundUrl(): string {
    return this.#socket.lastEndpoint!;
  }

  get size(): number {
    return this.#publishers.size;
  }

  /** By endpoint: whether all its publishers were heard from their beginnings on, and are now. */
  whole(): Map<string, boolean> {
    const whole = new Map<string, boolean>();
    for (const { endpoint, publisher } of this.#publishers.values()) {
      const name = endpoint ?? STORAGE;
      whole.set(name, (whole.get(name) ?? true) && publisher.isWhole);
    }
    return whole;
  }

  /** Hears these endpoints and no others. Gives sentences for people about those that it may not hear. */
  follow(endpoints: readonly EndpointRecord[]): readonly string[] {
    const mistakes: string[] = [];
    this.#names = new Map();
    const byName = Map.groupBy(endpoints, ({ id }) => id.slice(id.indexOf("/") + 1));
    for (const [name, [first, ...others]] of byName) {
      if (others.length === 0) this.#names.set(name, first!.id);
      else {
        const ids = [first!, ...others].map(({ id }) => id).join(" and ");
        mistakes.push(`${name} may be ${ids}: publishers must say the address, or the whole id`);
      }
    }
    // The address is what publishers say by default.
    for (const { id, address } of endpoints) this.#names.set(id, id).set(address, id);
    this.#replayUrls = new Map();
    for (const endpoint of endpoints) {
      const urls = replayUrlsOf(endpoint);
      if (typeof urls === "string") mistakes.push(`${endpoint.id}: ${urls}`);
      else this.#replayUrls.set(endpoint.id, urls);
    }
    for (const [key, { endpoint, rank, pod, publisher }] of this.#publishers) {
      if (endpoint === null) continue;
      const isSame = publisher.replayUrl === this.#replayUrlOf(endpoint, rank);
      if (isSame && this.#names.get(pod) === endpoint) continue;
      this.#publishers.delete(key);
      publisher.close();
    }
    return mistakes.slice(0, URL_MISTAKES_MAX);
  }

  /** Of each publisher, the endpoint whose it is. */
  all(): Iterable<Dialled> {
    return this.#publishers.values();
  }

  close(): void {
    this.#socket.close();
    for (const { publisher } of this.#publishers.values()) publisher.close();
    this.#publishers.clear();
  }

  async #read(): Promise<void> {
    for await (const frames of this.#socket) this.#take(frames);
  }

  #take(frames: Uint8Array[]): void {
    const batch = parseLiveFrames(frames);
    const pod = batch === undefined ? "" : parseTopic(batch.topic).pod;
    const endpoint = STORAGE_PODS.includes(pod) ? null : this.#names.get(pod);
    if (batch === undefined || endpoint === undefined) {
      this.#options.counts.foreign++;
      return;
    }
    this.#options.counts.of(endpoint ?? STORAGE).messages++;
    const decoded = decodeBatch(batch.payload);
    // Storage tiers count by themselves; a batch that cannot be read is nobody's, and a gap later.
    if (!decoded.ok) {
      this.#options.counts.of(endpoint ?? STORAGE).skipped.undecodable++;
      return;
    }
    const rank = endpoint === null ? STORAGE_PODS.indexOf(pod) : (decoded.rank ?? 0);
    this.#publisherOf(endpoint, rank, pod)?.take({ ...batch, decoded });
  }

  #linkLost(): void {
    for (const { publisher } of this.#publishers.values()) publisher.linkLost();
  }

  #replayUrlOf(endpoint: string | null, rank: number): string | null {
    return (endpoint === null ? undefined : this.#replayUrls.get(endpoint)?.get(rank)) ?? null;
  }

  #publisherOf(endpoint: string | null, rank: number, pod: string): DialledPublisher | undefined {
    const key = JSON.stringify([endpoint, rank]);
    const known = this.#publishers.get(key);
    if (known !== undefined) {
      if (known.pod !== pod) this.#publishers.set(key, { ...known, pod });
      return known.publisher;
    }
    if (this.#publishers.size >= DIALLED_MAX) {
      this.#options.counts.foreign++;
      return undefined;
    }
    // Ranks of a deployment are numbered through, over endpoints.
    const position = this.#freePosition(endpoint);
    if (position >= KV_EVENT_LIMITS.ranksPerEndpointMax) {
      const bound = `an endpoint's are told apart up to ${KV_EVENT_LIMITS.ranksPerEndpointMax}`;
      this.#options.shared.logger.error(
        { endpoint, rank },
        `kv events of too many ranks: ${bound}`,
      );
    }
    const publisher = new DialledPublisher({
      source: { endpoint, rank: position },
      consumer: this.#options.consumer,
      counts: this.#options.counts.of(endpoint ?? STORAGE),
      shared: this.#options.shared,
      replayUrl: this.#replayUrlOf(endpoint, rank),
    });
    this.#publishers.set(key, { endpoint, rank, position, pod, publisher });
    return publisher;
  }

  /** The first that none of the endpoint's publishers has. */
  #freePosition(endpoint: string | null): number {
    const taken = new Set<number>();
    for (const other of this.#publishers.values()) {
      if (other.endpoint === endpoint) taken.add(other.position);
    }
    let position = 0;
    while (taken.has(position)) position++;
    return position;
  }
}
