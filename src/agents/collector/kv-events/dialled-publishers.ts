// Publishers that dial: one bound socket, on which messages of all of them arrive mixed. The topic and
// the batch say whose they are; nobody can be asked for a replay.
//
//   kv@10.0.0.7:8000@model        endpoint by its address, id or name; rank by the batch
//   kv@SHARED_STORAGE@model       pool-wide storage
//
// A name that endpoints of two namespaces have is nobody's: they are heard by their ids and addresses only.
//
// Every message of a publisher is decoded before it is known whose it is, duplicates too.

import { Subscriber, type Context } from "zeromq";
import { KV_EVENT_LIMITS, type KvEventConsumer } from "../../../scheduler/kv/residency/kv-event.ts";
import type { Logger } from "../../process/logger.ts";
import type { EndpointRecord } from "../../protocol/messages.ts";
import type { KvEventCounts } from "./counters.ts";
import { BATCH_BYTES_MAX, decodeBatch } from "./decode-batch.ts";
import { URL_MISTAKES_MAX } from "./event-urls.ts";
import { parseLiveFrames, parseTopic } from "./frames.ts";
import { MESSAGES_WAITING_MAX } from "./kv-subscriber.ts";
import { PublisherAccount } from "./publisher-account.ts";

/** Publishers whose numbering is followed: endpoints times ranks, and storage tiers. */
export const DIALLED_MAX = 4_096;
/** What stands for a pod where the cache belongs to none. */
const STORAGE_PODS: readonly string[] = ["SHARED_STORAGE", "OBJECT_STORE"];
const STORAGE = "storage";
const TOPIC_FILTER = "kv@";

export interface DialledOptions {
  readonly consumer: KvEventConsumer;
  readonly logger: Logger;
  readonly counts: KvEventCounts;
  readonly context: Context;
}

export interface Dialled {
  /** The endpoint's id; null for storage. */
  readonly endpoint: string | null;
  /** Among the endpoint's publishers. */
  readonly position: number;
  /** What its topic called it last. */
  readonly pod: string;
  readonly account: PublisherAccount;
}

export class DialledPublishers {
  readonly #options: DialledOptions;
  readonly #socket: Subscriber;
  /** By endpoint and rank. */
  readonly #accounts = new Map<string, Dialled>();
  /** Endpoint ids by what a topic may call them. */
  #names = new Map<string, string>();

  private constructor(options: DialledOptions, socket: Subscriber) {
    this.#options = options;
    this.#socket = socket;
  }

  /** Rejects if the address cannot be had. */
  static async bind(url: string, options: DialledOptions): Promise<DialledPublishers> {
    const socket = new Subscriber({
      context: options.context,
      linger: 0,
      ipv6: url.includes("["),
      receiveHighWaterMark: MESSAGES_WAITING_MAX,
      maxMessageSize: BATCH_BYTES_MAX,
    });
    await socket.bind(url);
    socket.subscribe(TOPIC_FILTER);
    const publishers = new DialledPublishers(options, socket);
    publishers.#read().catch((err: unknown) => {
      options.logger.error({ err }, "kv events cannot be read");
    });
    return publishers;
  }

  get boundUrl(): string {
    return this.#socket.lastEndpoint!;
  }

  get size(): number {
    return this.#accounts.size;
  }

  /** By endpoint: whether all its publishers have been heard from their beginnings on. */
  whole(): Map<string, boolean> {
    const whole = new Map<string, boolean>();
    for (const { endpoint, account } of this.#accounts.values()) {
      const name = endpoint ?? STORAGE;
      whole.set(name, (whole.get(name) ?? true) && account.isWhole);
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
    for (const [key, { endpoint, pod, account }] of this.#accounts) {
      if (endpoint === null || this.#names.get(pod) === endpoint) continue;
      this.#accounts.delete(key);
      account.gone();
    }
    return mistakes.slice(0, URL_MISTAKES_MAX);
  }

  /** Of each publisher, the endpoint whose it is, and its account. */
  accounts(): Iterable<Dialled> {
    return this.#accounts.values();
  }

  close(): void {
    this.#socket.close();
    for (const { account } of this.#accounts.values()) account.gone();
    this.#accounts.clear();
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
    this.#accountOf(endpoint, rank, pod)?.takeLive({ ...batch, decoded }, false);
  }

  #accountOf(endpoint: string | null, rank: number, pod: string): PublisherAccount | undefined {
    const key = JSON.stringify([endpoint, rank]);
    const known = this.#accounts.get(key);
    if (known !== undefined) {
      if (known.pod !== pod) this.#accounts.set(key, { ...known, pod });
      return known.account;
    }
    if (this.#accounts.size >= DIALLED_MAX) {
      this.#options.counts.foreign++;
      return undefined;
    }
    // Ranks of a deployment are numbered through, over endpoints.
    const position = this.#freePosition(endpoint);
    if (position >= KV_EVENT_LIMITS.ranksPerEndpointMax) {
      const bound = `an endpoint's are told apart up to ${KV_EVENT_LIMITS.ranksPerEndpointMax}`;
      this.#options.logger.error({ endpoint, rank }, `kv events of too many ranks: ${bound}`);
    }
    const account = new PublisherAccount({
      source: { endpoint, rank: position },
      consumer: this.#options.consumer,
      counts: this.#options.counts.of(endpoint ?? STORAGE),
    });
    this.#accounts.set(key, { endpoint, position, pod, account });
    return account;
  }

  /** The first that none of the endpoint's publishers has. */
  #freePosition(endpoint: string | null): number {
    const taken = new Set<number>();
    for (const other of this.#accounts.values()) {
      if (other.endpoint === endpoint) taken.add(other.position);
    }
    let position = 0;
    while (taken.has(position)) position++;
    return position;
  }
}
