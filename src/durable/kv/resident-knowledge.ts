// What a pool knows of its endpoints' caches from their engines: the index, who feeds it, and what was
// just sent there. Gives plugins their prefix sources.
//
//   matched[slot] = exact     max(index, sent there)
//                   partial   max(index, sent there, approximate)
//                   none      approximate
//
// A partial account is true and lacks something; an approximate one may say too much. Taking the larger,
// an endpoint is never worse off for having events than without. What goes beyond the index counts as on
// GPUs, as it does where nothing tells tiers apart.

import type { KvMessage } from "../../agents/protocol/messages.ts";
import type { KvSection } from "../../agents/protocol/kv-frames.ts";
import { ResidentIndex } from "../../scheduler/kv/resident-index.ts";
import { ENDPOINTS_MAX, type EndpointTable } from "../../scheduler/model/endpoint-table.ts";
import type { SchedulerConfig } from "../../scheduler/config/scheduler-config.ts";
import type { Picked } from "../../scheduler/endpoint-picker.ts";
import type { PrefixSources } from "../../scheduler/plugin.ts";
import { speculationMsOf } from "../../scheduler/plugins/data-producer/precise-prefix-cache-producer.ts";
import type { Clock } from "../../scheduler/support/clock.ts";
import type { OfferedEndpoints } from "../agent-frames.ts";
import type { EndpointState, ResidencyState } from "../contract.ts";
import { KvFeeds, type KvFeedCounts, RATED_EXACT, RATED_PARTIAL } from "./kv-feeds.ts";
import { Speculation } from "./speculation.ts";

/** Tiers as events and configuration call them. */
const GPU_TIER = "gpu";
const BELOW_TIER = "cpu";

export interface ResidentKnowledgeOptions {
  readonly table: EndpointTable;
  readonly clock: Clock;
  readonly firstStream: number;
  readonly approximate: PrefixSources["approximate"];
  readonly tell: (agent: string, message: KvMessage) => void;
  readonly defer: (callback: () => void) => void;
}

export class ResidentKnowledge {
  readonly #options: ResidentKnowledgeOptions;
  readonly #index = new ResidentIndex();
  readonly #feeds: KvFeeds;
  readonly #speculation = new Speculation();
  #speculationMs = 0;
  readonly #onGpu = new Int32Array(ENDPOINTS_MAX);
  readonly #sent = new Int32Array(ENDPOINTS_MAX);
  readonly #approximate = new Int32Array(ENDPOINTS_MAX);

  readonly #approximateOnly: PrefixSources;
  readonly #both: PrefixSources;

  constructor(options: ResidentKnowledgeOptions) {
    this.#options = options;
    const { table, firstStream, tell, defer, approximate } = options;
    this.#approximateOnly = { approximate };
    this.#both = {
      approximate,
      exact: (keys, matchedBlocks, tierBlocks) => this.#exact(keys, matchedBlocks, tierBlocks),
    };
    this.#feeds = new KvFeeds({ table, index: this.#index, firstStream, tell, defer });
  }

  /** For a decision. Nothing is exact while no collector tells of any endpoint. */
  get sources(): PrefixSources {
    return this.#feeds.isEmpty ? this.#approximateOnly : this.#both;
  }

  /** Undefined while no collector tells of any endpoint. */
  get state(): ResidencyState | undefined {
    if (this.#feeds.isEmpty) return undefined;
    const { blockCount: blocks, pairCount: pairs, byteLength: bytes, counts } = this.#index;
    return { blocks, pairs, bytes, shed: counts.shed + counts.leftOut };
  }

  /** Since the beginning. */
  get counts(): Readonly<KvFeedCounts> {
    return this.#feeds.counts;
  }

  /** With what is known of each endpoint's cache. */
  describe(endpoints: readonly EndpointState[]): readonly EndpointState[] {
    if (this.#feeds.isEmpty) return endpoints;
    return endpoints.map((endpoint) => {
      const slot = this.#options.table.slotOfAddress(endpoint.address)!;
      const knowledge = this.#feeds.knowledge(slot);
      return { ...endpoint, knowledge, knownBlocks: this.#feeds.knownBlocks(slot) };
    });
  }

  /** How long a prompt counts as being where it was sent is the plugins' parameter. */
  configure(scheduler: SchedulerConfig): void {
    this.#speculationMs = speculationMsOf(scheduler);
  }

  /** A prompt is about to be sent: to the first choice, and to who reads it before. */
  picked(keys: Uint32Array, { slots, prefill }: Pick<Picked, "slots" | "prefill">): void {
    if (this.#speculationMs === 0 || this.#feeds.isEmpty) return;
    const nowMs = this.#options.clock();
    this.#speculation.expire(nowMs);
    const expiresAtMs = nowMs + this.#speculationMs;
    for (const slot of [slots[0], prefill?.[0]]) {
      if (slot !== undefined) this.#speculation.claim(keys, slot, expiresAtMs);
    }
  }

  // What collectors say; see KvFeeds.

  offered(agent: string, offer: OfferedEndpoints): void {
    this.#feeds.offered(agent, offer);
  }

  received(
    agent: string,
    sections: readonly KvSection[],
    frame: { seq: number; bytes: number },
  ): void {
    this.#feeds.received(agent, sections, frame);
  }

  lost(agent: string, seq: number): void {
    this.#feeds.lost(agent, seq);
  }

  disconnected(agent: string): void {
    this.#feeds.disconnected(agent);
  }

  /** The table's endpoints have changed. */
  endpointsChanged(): void {
    this.#feeds.assign();
  }

  endpointRemoved(slot: number): void {
    this.#feeds.endpointRemoved(slot);
    this.#speculation.endpointRemoved(slot);
  }

  endpointRestarted(slot: number): void {
    this.#feeds.endpointRestarted(slot);
    this.#speculation.endpointRemoved(slot);
  }

  // Hot path: kv-stream in bench/.
  #exact(
    keys: Uint32Array,
    matchedBlocks: Int32Array,
    tierBlocks: ReadonlyMap<string, Int32Array>,
  ): void {
    const { table, approximate, clock } = this.#options;
    this.#speculation.expire(clock());
    this.#index.match(keys, matchedBlocks, this.#onGpu);
    this.#speculation.match(keys, this.#sent);
    approximate(keys, this.#approximate);
    const ratings = this.#feeds.ratings();
    const gpuBlocks = tierBlocks.get(GPU_TIER);
    const belowBlocks = tierBlocks.get(BELOW_TIER);
    for (let slot = 0; slot < table.columns.slotCount; slot++) {
      const known = matchedBlocks[slot]!;
      const rating = ratings[slot]!;
      let matched = known;
      if (rating >= RATED_PARTIAL) matched = Math.max(matched, this.#sent[slot]!);
      if (rating < RATED_EXACT) matched = Math.max(matched, this.#approximate[slot]!);
      const onGpu = this.#onGpu[slot]! + matched - known;
      matchedBlocks[slot] = matched;
      if (gpuBlocks !== undefined) gpuBlocks[slot] = onGpu;
      if (belowBlocks !== undefined) belowBlocks[slot] = matched - onGpu;
    }
  }
}
