// From the engines' KV events to what the pool's object is told of them.
//
//   KvEvents ──events──► ResidencyAccount ──content keys──► KvStream ──KV frames──► object
//
// Events are followed and kept account of whether the session is up or not: what an engine has said once
// it may not be able to say again.

import { ResidencyAccount } from "../../scheduler/kv/residency/residency-account.ts";
import type { MetricRegistry } from "../../telemetry/metrics.ts";
import type { Logger } from "../process/logger.ts";
import type { Configure, EndpointRecord, KvMessage } from "../protocol/messages.ts";
import type { KvEvents, KvEventsMode } from "./kv-events/kv-events.ts";
import { KvStream, type KvStreamOptions } from "./kv-stream/kv-stream.ts";

export interface KvResidencyOptions {
  readonly mode: KvEventsMode;
  readonly send: KvStreamOptions["send"];
  readonly logger: Logger;
  readonly registry: MetricRegistry;
}

export class KvResidency {
  readonly #account: ResidencyAccount;
  readonly #stream: KvStream;
  #events: KvEvents | undefined;

  private constructor({ send, registry }: KvResidencyOptions) {
    this.#stream = new KvStream({
      send,
      registry,
      sourceAt: (slot) => this.#account.sourceAt(slot),
      whole: () => this.#whole(),
    });
    this.#account = new ResidencyAccount(this.#stream);
  }

  /** Rejects if the address to bind cannot be had, or the platform has no ZeroMQ. */
  static async start(options: KvResidencyOptions): Promise<KvResidency> {
    const residency = new KvResidency(options);
    const { mode, logger, registry } = options;
    // ZeroMQ is native code: a platform without it can still collect everything else.
    const { KvEvents } = await import("./kv-events/kv-events.ts");
    const consumer = residency.#account;
    residency.#events = await KvEvents.start({ mode, consumer, logger, registry });
    return residency;
  }

  /** Where publishers dial, if they do. */
  get boundUrl(): string | undefined {
    return this.#events?.boundUrl;
  }

  /** These endpoints and no others. The object does not have the list yet. */
  follow(endpoints: readonly EndpointRecord[]): void {
    this.#events?.follow(endpoints);
    this.#stream.follow(endpoints);
  }

  /** The endpoint's engine seems to be a new process. */
  engineRestarted(endpoint: string): void {
    this.#events?.engineRestarted(endpoint);
  }

  /** A new connection of the session. */
  connected(): void {
    this.#stream.connected();
  }

  configured({ kvWindowBytes }: Configure): void {
    this.#stream.configured(kvWindowBytes);
  }

  /** The object has the list of endpoints that is followed. */
  listed(): void {
    this.#stream.listed();
  }

  received(message: KvMessage): void {
    this.#stream.received(message);
  }

  /** Sends what has changed. */
  flush(): void {
    this.#stream.flush();
  }

  close(): void {
    this.#events?.close();
  }

  /** Until it is known what content became, what is told is true, and less than all. */
  #whole(): ReadonlyMap<string, boolean> {
    const whole = this.#events?.whole() ?? new Map<string, boolean>();
    if (this.#account.contentBlocks === 0) for (const id of whole.keys()) whole.set(id, false);
    return whole;
  }
}
