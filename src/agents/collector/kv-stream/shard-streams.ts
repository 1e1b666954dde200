// What the objects of a pool are told of the engines' KV caches: each of the blocks that requests which it is
// asked for may look for. One account of the caches feeds all.
//
//   accounts ──held──► which shard? ┬► KvStream of shard 0 ──► its object
//                 KeyChains ────────┼► KvStream of shard 1 ──► its object
//                                   └► …
//
// That a block is gone, or held otherwise, is for everybody who was told of it, whoever it belongs to now. So
// what an object was told stays true: at worst it knows blocks that nobody asks it for.

import type { Holding, HoldingSink } from "../../../scheduler/kv/residency/holding.ts";
import type { KeyChains } from "../../../scheduler/kv/residency/key-chains.ts";
import { ONE_SHARD, type ShardMap } from "../../../scheduler/shards/contracts.ts";
import { gainersOf } from "../../../scheduler/shards/map-changes.ts";
import { EVERY_SHARD } from "../../../scheduler/shards/shard-of.ts";
import { METRIC } from "../../../telemetry/names.ts";
import type { FramePlace } from "../../protocol/codec.ts";
import type { EndpointRecord } from "../../protocol/messages.ts";
import { KeyMover } from "./key-mover.ts";
import { KvStream, type KvStreamFigures, type KvStreamOptions } from "./kv-stream.ts";

export interface ShardStreamsOptions extends Omit<KvStreamOptions, "send"> {
  /** Sends a frame to a shard's object; see KvStreamOptions. */
  readonly send: (encode: (place: FramePlace) => Uint8Array, shard: number) => boolean;
  /** Of all blocks whose beginnings are known. It is told the map here. */
  readonly chains: KeyChains;
}

export class ShardStreams implements HoldingSink {
  readonly #options: ShardStreamsOptions;
  readonly #streams = new Map<number, KvStream>();
  readonly #mover: KeyMover;
  #map: ShardMap = ONE_SHARD;
  #endpoints: readonly EndpointRecord[] = [];

  constructor(options: ShardStreamsOptions) {
    this.#options = options;
    const shardOf = (low: number, high: number) => options.chains.shardOf(low, high);
    this.#mover = new KeyMover({ streams: this.#streams, shardOf });
    this.open(0);
    options.registry.onRender(() => this.#render());
  }

  /** A shard's object is to be told. */
  open(shard: number): void {
    if (this.#streams.has(shard)) return;
    const { send } = this.#options;
    const stream = new KvStream({ ...this.#options, send: (encode) => send(encode, shard) });
    stream.follow(this.#endpoints);
    this.#streams.set(shard, stream);
  }

  /** Undefined for a shard whose object is not told. */
  at(shard: number): KvStream | undefined {
    return this.#streams.get(shard);
  }

  /** A shard's object is not told any more. */
  close(shard: number): void {
    this.#streams.delete(shard);
  }

  /** Whether everything that an object which leaves was told is known to where it belongs now. */
  get isMoved(): boolean {
    return this.#mover.isCopied;
  }

  /** The pool is spread so from now on; every shard that is counted has its stream. */
  use(map: ShardMap): void {
    const gainers = gainersOf(this.#map, map);
    this.#map = map;
    this.#options.chains.use(map);
    if (gainers !== undefined) this.#mover.begin(map.count, gainers);
  }

  /** See HoldingSink: of the accounts' slots. */
  // Hot path: kv-stream in bench/.
  held(slot: number, low: number, high: number, holding: Holding): void {
    if (this.#streams.size === 1) {
      this.#streams.get(0)!.held(slot, low, high, holding);
      return;
    }
    const shard = this.#options.chains.shardOf(low, high);
    for (const [each, stream] of this.#streams) {
      const isFor = each < this.#map.count && (shard === EVERY_SHARD || shard === each);
      if (isFor) stream.held(slot, low, high, holding);
      else stream.heldStill(slot, low, high, holding);
    }
  }

  /** These endpoints and no others. */
  follow(endpoints: readonly EndpointRecord[]): void {
    this.#endpoints = endpoints;
    for (const stream of this.#streams.values()) stream.follow(endpoints);
  }

  /** See KvStream. */
  doubted(): void {
    for (const stream of this.#streams.values()) stream.doubted();
  }

  /** Sends what is due, and takes some keys on to where they belong. */
  flush(): void {
    this.#mover.step(performance.now());
    for (const stream of this.#streams.values()) stream.flush();
  }

  #render(): void {
    const { registry } = this.#options;
    const sum = (part: keyof KvStreamFigures) =>
      [...this.#streams.values()].reduce((total, { figures }) => total + figures[part], 0);
    registry.set(METRIC.kvStreamsOpen, {}, sum("open"));
    registry.set(METRIC.kvStreamDueKeys, {}, sum("dueKeys"));
    registry.set(METRIC.kvStreamMirrorBytes, {}, sum("bytes"));
    registry.set(METRIC.kvStreamLeftOutTotal, {}, sum("leftOut"));
  }
}
