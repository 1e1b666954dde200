// Sends one engine's batches: a PUB socket that numbers them, and a history for replay.
//
//   message    topic, sequence (8 bytes, big-endian), payload
//
// Batches can be made to go wrong on purpose: lost on the way, which replay makes good; never sent
// and not kept either, which it does not; sent twice.
//
// Source: vLLM vllm/distributed/kv_events.py, ZmqEventPublisher.

import { Publisher } from "zeromq";
import type { Rng } from "../../../scheduler/support/rng.ts";
import type { Logger } from "../../process/logger.ts";
import { BatchHistory, type PublishedBatch } from "./batch-history.ts";
import { ReplayServer } from "./replay-server.ts";
import { bind, rebind, sequenceFrame } from "./sockets.ts";

export interface PublisherOptions {
  readonly endpoint: string;
  /** Whether the endpoint is bound; else it is dialled. */
  readonly isBound: boolean;
  /** Always bound; undefined: no replay. */
  readonly replayEndpoint: string | undefined;
  readonly topic: string;
  readonly firstSequence: number;
  readonly replayHasTopic: boolean;
  /** Batches kept for replay. */
  readonly historyMax: number;
  /** Messages kept for one subscriber that does not keep up; it misses the others. */
  readonly highWaterMark: number;
  /** Batches that wait to be sent. */
  readonly queueMax: number;
  /** Shares of the batches, from 0 to 1. */
  readonly lossRate: number;
  readonly repeatRate: number;
}

export interface PublisherCounts {
  /** Batches given a number. */
  published: number;
  /** Of these, kept from the subscribers on purpose, or because too many waited. */
  lost: number;
  /** Numbers no batch has. */
  skipped: number;
  repeated: number;
  restarts: number;
}

export class KvEventPublisher {
  readonly options: PublisherOptions;
  readonly counts: PublisherCounts = {
    published: 0,
    lost: 0,
    skipped: 0,
    repeated: 0,
    restarts: 0,
  };
  readonly #logger: Logger;
  readonly #rng: Rng;
  readonly #history: BatchHistory;
  #socket: Publisher;
  #endpoint: string;
  #replay: ReplayServer | undefined;
  #queue: PublishedBatch[] = [];
  #isPumping = false;
  #isOpen = false;
  #reopening: Promise<void> = Promise.resolve();
  #nextSequence: number;
  #losses = 0;
  #repeats = 0;

  private constructor(options: PublisherOptions, logger: Logger, rng: Rng) {
    this.options = options;
    this.#logger = logger;
    this.#rng = rng;
    this.#history = new BatchHistory(options.historyMax);
    this.#nextSequence = options.firstSequence;
    this.#endpoint = options.endpoint;
    this.#socket = this.#createSocket();
  }

  /** Rejects when an address is taken. */
  static async open(
    options: PublisherOptions,
    logger: Logger,
    rng: Rng,
  ): Promise<KvEventPublisher> {
    const publisher = new KvEventPublisher(options, logger, rng);
    try {
      if (options.isBound) {
        publisher.#endpoint = await bind(publisher.#socket, options.endpoint);
      } else publisher.#socket.connect(options.endpoint);
      if (options.replayEndpoint !== undefined) {
        publisher.#replay = await ReplayServer.bind({
          endpoint: options.replayEndpoint,
          topic: options.topic,
          hasTopic: options.replayHasTopic,
          history: publisher.#history,
          logger,
        });
      }
    } catch (error) {
      publisher.#socket.close();
      throw error;
    }
    publisher.#isOpen = true;
    return publisher;
  }

  /** Where subscribers connect, or the subscriber that is dialled. */
  get endpoint(): string {
    return this.#endpoint;
  }

  get replayEndpoint(): string | undefined {
    return this.#replay?.endpoint;
  }

  /** The number of the next batch. */
  get nextSequence(): number {
    return this.#nextSequence;
  }

  get keptCount(): number {
    return this.#history.count;
  }

  get replaysServed(): number {
    return this.#replay?.servedCount ?? 0;
  }

  /** Numbers a batch, keeps it for replay and sends it. The payload is the publisher's from now on. */
  publish(payload: Uint8Array): void {
    const batch = { sequence: this.#nextSequence++, payload };
    this.#history.push(batch);
    this.counts.published++;
    if (this.#losses > 0 || this.#rng() < this.options.lossRate) {
      this.#losses = Math.max(0, this.#losses - 1);
      this.counts.lost++;
      return;
    }
    this.#enqueue(batch);
    if (this.#repeats > 0 || this.#rng() < this.options.repeatRate) {
      this.#repeats = Math.max(0, this.#repeats - 1);
      this.counts.repeated++;
      this.#enqueue(batch);
    }
  }

  /** The next `count` batches do not arrive, but can be replayed. */
  lose(count: number): void {
    this.#losses = count;
  }

  /** The next `count` batches are sent twice. */
  repeat(count: number): void {
    this.#repeats = count;
  }

  /** Leaves `count` numbers out, as if their batches had been lost for good. */
  skip(count: number): void {
    this.#nextSequence += count;
    this.counts.skipped += count;
  }

  /**
   * What a restart of the engine looks like from outside: connections break, numbers begin anew. What
   * is published from this call on is part of the new life. Not to be called again before it is over.
   */
  restart(): Promise<void> {
    this.counts.restarts++;
    this.#isOpen = false;
    this.#queue = [];
    this.#history.clear();
    this.#nextSequence = this.options.firstSequence;
    this.#losses = 0;
    this.#repeats = 0;
    this.#socket.close();
    this.#reopening = this.#reopen();
    return this.#reopening;
  }

  async close(): Promise<void> {
    await this.#reopening.catch(() => {
      // Whoever restarted was told.
    });
    this.#isOpen = false;
    this.#queue = [];
    this.#socket.close();
    await this.#replay?.close();
  }

  async #reopen(): Promise<void> {
    await this.#replay?.restart();
    this.#socket = this.#createSocket();
    if (this.options.isBound) await rebind(this.#socket, this.#endpoint);
    else this.#socket.connect(this.#endpoint);
    this.#isOpen = true;
    this.#pump();
  }

  #createSocket(): Publisher {
    return new Publisher({ sendHighWaterMark: this.options.highWaterMark, linger: 0 });
  }

  #enqueue(batch: PublishedBatch): void {
    if (this.#queue.length >= this.options.queueMax) {
      this.counts.lost++;
      return;
    }
    this.#queue.push(batch);
    this.#pump();
  }

  #pump(): void {
    if (this.#isPumping || !this.#isOpen) return;
    this.#isPumping = true;
    this.#sendAll()
      .catch((err: unknown) => {
        // Reached when the socket is closed in the middle.
        this.#logger.debug({ err }, "batch not sent");
      })
      .finally(() => {
        this.#isPumping = false;
        if (this.#queue.length > 0) this.#pump();
      });
  }

  async #sendAll(): Promise<void> {
    while (this.#isOpen && this.#queue.length > 0) {
      const { sequence, payload } = this.#queue.shift()!;
      // A PUB socket drops what a subscriber has no room for; it never waits.
      await this.#socket.send([this.options.topic, sequenceFrame(sequence), payload]);
    }
  }
}
