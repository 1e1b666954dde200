// What one of the pool's objects is told by a collector, and what it has been told already. Everything it is
// told is found once, for all of them: see collector.ts.

import { encodeFrame, encodeMetrics, FRAME, type FramePlace } from "../protocol/codec.ts";
import type { Configure, EndpointRecord } from "../protocol/messages.ts";
import type { WireSpecification } from "../protocol/metrics-specification.ts";
import type { PoolSession, SessionEvents } from "../session/pool-session.ts";
import type { ShardUse } from "../session/shard-sessions.ts";
import type { ScrapeResult } from "./endpoint-readings.ts";
import type { LoraReading } from "./extraction.ts";
import type { KvResidency } from "./kv-residency.ts";
import { MetricsLedger } from "./metrics-ledger.ts";
import { ModelsLedger } from "./models-ledger.ts";
import type { ResourcesTeller } from "./resources-teller.ts";

export interface ShardTellerOptions {
  readonly shard: number;
  readonly session: PoolSession;
  readonly endpoints: () => readonly EndpointRecord[];
  /** What endpoints are asked for; undefined while they are not. */
  readonly read: () => Configure | undefined;
  readonly residency: KvResidency | undefined;
  /** Of the object that is told of the cluster's resources; the others learn of them by it. */
  readonly resources: ResourcesTeller | undefined;
  readonly onConfigure: (configure: Configure) => void;
}

export class ShardTeller implements ShardUse {
  readonly events: SessionEvents;
  readonly #options: ShardTellerOptions;
  readonly #metrics = new MetricsLedger();
  readonly #models = new ModelsLedger();
  #configure: Configure | undefined;
  /** The object of this connection has said what `#configure` holds. */
  #isConfigured = false;
  /** The object does not hold the current membership. Rows refer to it, so it goes first. */
  #isMembershipDue = true;

  constructor(options: ShardTellerOptions) {
    const { shard, residency, resources } = options;
    this.#options = options;
    this.restart();
    residency?.opened(shard);
    this.events = {
      onWelcome: () => {
        this.#isConfigured = false;
        residency?.connected(shard);
      },
      onResync: () => {
        this.#isMembershipDue = true;
        this.#metrics.forgetSent();
        this.#models.forgetSent();
        resources?.forgetSent();
      },
      onAck: () => undefined,
      onConfigure: (configure) => {
        // Said again after every reconnect.
        this.#isConfigured = true;
        this.#configure = configure;
        residency?.configured(configure, shard);
        resources?.configured(configure);
        options.onConfigure(configure);
      },
      onKv: (message) => residency?.received(message, shard),
    };
  }

  get session(): PoolSession {
    return this.#options.session;
  }

  /** Whether other objects have all that this one was told. */
  get isDone(): boolean {
    return this.#options.residency?.isMoved ?? true;
  }

  closed(): void {
    this.#options.residency?.left(this.#options.shard);
  }

  /** There are other endpoints, or other things to read: what was read before says nothing. */
  restart(): void {
    const { length } = this.#options.endpoints();
    this.#isMembershipDue = true;
    this.#metrics.reset(length);
    this.#models.reset(length);
  }

  observe(index: number, result: ScrapeResult, nowMs: number): void {
    if (result.isNewProcess) this.#models.engineRestarted(index);
    this.#metrics.observe(index, result, nowMs);
  }

  lora(index: number, lora: LoraReading): void {
    this.#models.lora(index, lora);
  }

  models(index: number, models: readonly string[]): void {
    this.#models.models(index, models);
  }

  /** Says what is due. */
  flush(nowMs: number): void {
    this.#sendMetrics(nowMs);
    const { session, resources } = this.#options;
    if (this.#isConfigured) resources?.flush((encode) => session.send(encode));
  }

  #sendMetrics(nowMs: number): void {
    const { session, residency, shard, endpoints, read } = this.#options;
    // An object that is there again is about to say what it wants; it may be another release.
    if (read() !== undefined && !this.#isConfigured) return;
    const knowsSpecifications = this.#configure?.specification !== undefined;
    if (this.#isMembershipDue) {
      // Of what is read, which objects of one pool may for a moment want to be unlike.
      const specification = knowsSpecifications ? read()?.specification : undefined;
      const payload = encodeMembership(endpoints(), specification);
      const encode = (place: FramePlace) =>
        encodeFrame({ type: FRAME.membership, ...place }, payload);
      if (!session.send(encode)) return;
      this.#isMembershipDue = false;
      residency?.listed(shard);
    }
    const rows = this.#metrics.rows(nowMs);
    if (rows.length > 0) {
      if (!session.send((place) => encodeMetrics(place, rows))) return;
      this.#metrics.confirm();
    }
    // After the rows: they say that an engine is a new one, and then what it has loaded.
    if (knowsSpecifications) this.#sendModels();
  }

  #sendModels(): void {
    for (;;) {
      const frame = this.#models.frame();
      if (frame === undefined) return;
      const payload = Buffer.from(JSON.stringify(frame.payload));
      const isSent = this.session.send((place) =>
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
