// What one engine tells of its cache, from its first block to what goes wrong on purpose.

import { z } from "zod";
import type { Logger } from "../../process/logger.ts";
import type { Rng } from "../../../scheduler/support/rng.ts";
import type { BlockHash } from "../model/block-hash.ts";
import type { Engine } from "../model/engine.ts";
import { HASH_BYTES } from "./block-hashers.ts";
import { CacheReporter } from "./cache-reporter.ts";
import type { KvEventsConfig } from "./flags.ts";
import { KvEventPublisher } from "./publisher.ts";
import type { SharedStorage } from "./shared-storage.ts";
import { isBound, offsetEndpoint, withPort } from "./sockets.ts";
import { servedModelNames, type SimulatorParameters } from "../parameters.ts";

/** Batches one command can make go wrong. */
const BATCHES_MAX = 100_000;
const batches = z.number().int().min(1).max(BATCHES_MAX);

/** What POST /sim/kv-events takes. */
export const kvCommandSchema = z.discriminatedUnion("action", [
  z.strictObject({ action: z.literal("lose"), batches }),
  z.strictObject({ action: z.literal("skip"), batches }),
  z.strictObject({ action: z.literal("repeat"), batches }),
  // Requests under way break, the cache is empty, numbers begin anew, and nothing says so.
  z.strictObject({ action: z.literal("restart") }),
]);

export type KvCommand = z.output<typeof kvCommandSchema>;

/** Where events can be had. */
export interface EventAddresses {
  readonly endpoint: string;
  readonly replayEndpoint: string | undefined;
  readonly topic: string;
}

/** Where an engine stands among the others of its process. */
export interface EnginePlace {
  /** Engines, each of --data-parallel-size ranks, in the order of their ports. */
  readonly index: number;
  readonly storage: SharedStorage | undefined;
}

export class EngineEvents {
  readonly reporter: CacheReporter;
  readonly #parameters: SimulatorParameters;
  readonly #place: EnginePlace;
  readonly #config: KvEventsConfig | undefined;
  /** Over all hosts, as vLLM counts. */
  readonly #rank: number;
  #publisher: KvEventPublisher | undefined;

  constructor(parameters: SimulatorParameters, place: EnginePlace) {
    this.#parameters = parameters;
    this.#place = place;
    const config = parameters["kv-events-config"];
    this.#config = config?.enable_kv_cache_events === true ? config : undefined;
    this.#rank =
      parameters["data-parallel-start-rank"] + (place.index % parameters["data-parallel-size"]);
    this.reporter = new CacheReporter({
      isPublished: this.#config !== undefined,
      form: parameters["kv-events-form"],
      hashBytes: HASH_BYTES[parameters["prefix-caching-hash-algo"]],
      blockSize: parameters["block-size"],
      rank: this.#rank,
      loras: parameters["lora-modules"],
      cpuBlocks: parameters["kv-offloading-blocks"],
      offloadWhen: parameters["kv-offloading-when"],
      storage: place.storage,
      slidingWindow: parameters["sliding-window"],
    });
  }

  /** Begins to publish, if it was asked for. `port`: where the engine serves. */
  async open(port: number, logger: Logger, rng: Rng): Promise<void> {
    if (this.#config === undefined) return;
    const { endpoint, replay_endpoint: replayEndpoint, ...config } = this.#config;
    const form = this.#parameters["kv-events-form"];
    this.#publisher = await KvEventPublisher.open(
      {
        endpoint: this.#own(endpoint, "kv-events-ports"),
        isBound: isBound(endpoint),
        replayEndpoint:
          replayEndpoint === null ? undefined : this.#own(replayEndpoint, "kv-replay-ports"),
        topic: this.#topic(config.topic, port),
        firstSequence: form.firstSequence,
        replayHasTopic: form.replay === "topic",
        historyMax: config.buffer_steps,
        highWaterMark: config.hwm,
        queueMax: config.max_queue_size,
        lossRate: this.#parameters["kv-events-loss-rate"] / 100,
        repeatRate: this.#parameters["kv-events-repeat-rate"] / 100,
      },
      logger,
      rng,
    );
    this.reporter.attach(this.#publisher);
  }

  get addresses(): EventAddresses | undefined {
    if (this.#publisher === undefined) return undefined;
    const { endpoint, replayEndpoint, options } = this.#publisher;
    return { endpoint, replayEndpoint, topic: options.topic };
  }

  /** For people and tests. */
  state() {
    const publisher = this.#publisher;
    if (publisher === undefined) return { isPublished: false as const };
    const { nextSequence, keptCount, replaysServed, counts } = publisher;
    return {
      isPublished: true as const,
      ...this.addresses!,
      rank: this.#rank,
      nextSequence,
      keptCount,
      replaysServed,
      ...counts,
    };
  }

  /** The hashes each tier holds, in hexadecimal and whole. */
  residency({
    cache,
    windowCache,
  }: Engine): Readonly<Record<"gpu" | "window" | "cpu" | "storage", string[]>> {
    const digits = HASH_BYTES[this.#parameters["prefix-caching-hash-algo"]] * 2;
    // Copies of a block count once.
    const hex = (hashes: Iterable<BlockHash>) =>
      Array.from(new Set(hashes), (hash) => hash.toString(16).padStart(digits, "0"));
    return {
      gpu: hex(cache.findable()),
      window: hex(windowCache?.findable() ?? []),
      cpu: hex(this.reporter.cpuHashes),
      storage: hex(this.#place.storage?.hashes ?? []),
    };
  }

  /** Makes the next batches go wrong. */
  inject(command: Exclude<KvCommand, { action: "restart" }>): void {
    this.#publisher?.[command.action](command.batches);
  }

  /** The engine's cache was emptied, by a restart of which nobody is told. */
  async restart(): Promise<void> {
    this.reporter.restarted();
    await this.#publisher?.restart();
  }

  async close(): Promise<void> {
    await this.#publisher?.close();
  }

  /** Each engine of the process binds ports of its own; whoever is dialled has one for all. */
  #own(endpoint: string, list: "kv-events-ports" | "kv-replay-ports"): string {
    const given = this.#parameters[list][this.#place.index];
    if (given !== undefined) return withPort(endpoint, given);
    const size = this.#parameters["data-parallel-size"];
    const before = isBound(endpoint) ? Math.floor(this.#place.index / size) * size : 0;
    return offsetEndpoint(endpoint, before + this.#rank);
  }

  #topic(template: string, port: number): string {
    const { host } = this.#parameters;
    return template
      .replaceAll("$(POD_IP)", () => host)
      .replaceAll("$(POD_PORT)", () => String(port))
      .replaceAll("$(MODEL)", () => servedModelNames(this.#parameters)[0]!);
  }
}
