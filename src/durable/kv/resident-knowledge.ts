// What a pool knows of its endpoints' caches from their engines: the index, who feeds it, and what was
// just sent there. Gives plugins their prefix sources.
//
//   matched[slot] = exact     max(index, sent there)
//                   partial   max(index, sent there, approximate)
//                   none      approximate
//                   demoted   approximate     it was told, and what it means stayed wrong: CacheTrust
//
// A partial account is true and lacks something; an approximate one may say too much. Taking the larger,
// an endpoint is never worse off for having events than without. What goes beyond the index counts as on
// GPUs, as it does where nothing tells tiers apart.

import type { KvMessage } from "../../agents/protocol/messages.ts";
import { KV_END_EVEN, KV_TOKEN_UNIT, type KvSection } from "../../agents/protocol/kv-frames.ts";
import type { KeyTable } from "../../scheduler/kv/block-table.ts";
import { END_UNKNOWN } from "../../scheduler/kv/block-ends.ts";
import { CONTENT_BLOCK_TOKENS } from "../../scheduler/kv/content-keys.ts";
import { ResidentIndex } from "../../scheduler/kv/resident-index.ts";
import { ENDPOINTS_MAX, type EndpointTable } from "../../scheduler/model/endpoint-table.ts";
import type { SchedulerConfig } from "../../scheduler/config/scheduler-config.ts";
import type { Picked } from "../../scheduler/endpoint-picker.ts";
import type { PrefixSources } from "../../scheduler/plugin.ts";
import { speculationMsOf } from "../../scheduler/plugins/data-producer/precise-prefix-cache-producer.ts";
import type { Clock } from "../../scheduler/support/clock.ts";
import type { OfferedEndpoints } from "../agent-frames.ts";
import type { EndpointState, ResidencyState } from "../state.ts";
import { CacheTrust, type DemotionCounts } from "./cache-trust.ts";
import type { CachePrediction } from "./cache-prediction.ts";
import { KvFeeds, type KvFeedCounts, RATED_EXACT, RATED_NONE, RATED_PARTIAL } from "./kv-feeds.ts";
import { KvIntake } from "./kv-intake.ts";
import { compare, type ServedEnd, type SkipReason, type Verdict } from "./prediction.ts";
import { type ClaimEnd, Speculation, type ToldBlocks } from "./speculation.ts";

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
  /** See KvFeedsOptions. */
  readonly silentAfterMs: () => number;
}

/** What a request was predicted to find, as its ticket keeps it. */
export interface Believed {
  readonly prediction: CachePrediction;
  readonly model: string;
  /** null where they were not kept: then it is not known what was just sent there. */
  readonly keys: Uint32Array | null;
}

/** Since the beginning. */
export interface PredictionCounts {
  readonly verdicts: Readonly<Record<Verdict, number>>;
  readonly skipped: Readonly<Record<SkipReason, number>>;
  readonly demotions: Readonly<DemotionCounts>;
  /** Of prompts that counted as cached where they were sent. */
  readonly claimEnds: Readonly<Record<ClaimEnd, number>>;
}

export class ResidentKnowledge {
  readonly #options: ResidentKnowledgeOptions;
  readonly #index = new ResidentIndex();
  readonly #feeds: KvFeeds;
  readonly #intake: KvIntake;
  readonly #speculation = new Speculation();
  readonly #blocks: ToldBlocks;
  readonly #trust = new CacheTrust();
  readonly #verdicts = { right: 0, over: 0, under: 0 };
  readonly #skipped = {
    unreported: 0,
    elsewhere: 0,
    restarted: 0,
    partial: 0,
    waited: 0,
    unknown: 0,
  };
  /** By slot: how many caches it has had. */
  readonly #lives = new Uint32Array(ENDPOINTS_MAX);
  #speculationMs = 0;
  /** Some collector has said something in this life. */
  #isAnyHeard = false;
  /** Of the last look-up: its keys, and by slot what each source said. */
  #keys: Uint32Array | undefined;
  readonly #held = new Int32Array(ENDPOINTS_MAX);
  readonly #onGpu = new Int32Array(ENDPOINTS_MAX);
  readonly #sent = new Int32Array(ENDPOINTS_MAX);
  readonly #approximate = new Int32Array(ENDPOINTS_MAX);

  readonly #approximateOnly: PrefixSources;
  readonly #both: PrefixSources;

  constructor(options: ResidentKnowledgeOptions) {
    this.#options = options;
    const { table, clock, firstStream, tell, defer, silentAfterMs, approximate } = options;
    this.#approximateOnly = { approximate };
    this.#both = {
      approximate,
      exact: (keys, matchedBlocks, tierBlocks) => this.#exact(keys, matchedBlocks, tierBlocks),
    };
    const index = this.#index;
    const told = (slot: number) => this.#told(slot);
    const from = { table, index, clock, firstStream, tell, defer, silentAfterMs };
    this.#feeds = new KvFeeds({ ...from, told });
    this.#intake = new KvIntake({ feeds: this.#feeds, defer });
    this.#blocks = {
      heldOf: (slot, keys) => this.#feeds.heldOf(slot, keys),
      holdsEnd: (slot, keys) => this.#feeds.holdsEnd(slot, keys),
      isKnown: (low, high) => index.isKnown(low, high),
    };
  }

  /**
   * For a decision on a request for `model`. Nothing is exact while no collector tells of any endpoint, and
   * of prompts whose content is not what it is taken for.
   */
  sourcesFor(model: string): PrefixSources {
    if (this.#feeds.isEmpty) return this.#approximateOnly;
    this.#feeds.watch();
    const isDemoted = this.#trust.isModelDemoted(model, this.#options.clock());
    return isDemoted ? this.#approximateOnly : this.#both;
  }

  /**
   * Whether relays are to learn what content becomes: a collector follows engines and will hear of it. An
   * object that has just begun anew does not know yet whether one does, and what is served meanwhile is
   * in caches as well.
   */
  get wantsContent(): boolean {
    return !this.#feeds.isEmpty || !this.#isAnyHeard;
  }

  /** What is in caches by exact knowledge; empty while no collector tells. */
  get keyTables(): readonly KeyTable[] {
    return this.#feeds.isEmpty ? [] : [this.#index.keys, this.#speculation.keys];
  }

  /** The same by endpoint. */
  get pairTables(): readonly KeyTable[] {
    return this.#feeds.isEmpty ? [] : [this.#index.pairs, this.#speculation.pairs];
  }

  /** Whether decisions also go by what is only assumed to be cached. */
  get isAnyApproximate(): boolean {
    if (this.#feeds.isEmpty) return true;
    const nowMs = this.#options.clock();
    if (this.#trust.demotedModels(nowMs) > 0) return true;
    const ratings = this.#feeds.ratings();
    const isDemoted = this.#trust.demoted(nowMs);
    for (const slot of this.#options.table.slots()) {
      if (ratings[slot] !== RATED_EXACT || isDemoted[slot] === 1) return true;
    }
    return false;
  }

  /** Undefined while no collector tells of any endpoint. */
  get state(): ResidencyState | undefined {
    if (this.#feeds.isEmpty) return undefined;
    const { blockCount: blocks, pairCount: pairs, byteLength: bytes, counts } = this.#index;
    const demotedModels = this.#trust.demotedModels(this.#options.clock());
    return {
      blocks,
      pairs,
      bytes,
      shed: counts.shed + counts.leftOut,
      ...(demotedModels === 0 ? {} : { demotedModels }),
    };
  }

  get predictionCounts(): PredictionCounts {
    const { demotions } = this.#trust;
    const { ends: claimEnds } = this.#speculation;
    return { verdicts: this.#verdicts, skipped: this.#skipped, demotions, claimEnds };
  }

  /** Since the beginning. */
  get counts(): Readonly<KvFeedCounts> {
    return this.#feeds.counts;
  }

  /** With what is known of each endpoint's cache. */
  describe(endpoints: readonly EndpointState[]): readonly EndpointState[] {
    if (this.#feeds.isEmpty) return endpoints;
    this.#feeds.watch();
    const isDemoted = this.#trust.demoted(this.#options.clock());
    return endpoints.map((endpoint) => {
      const slot = this.#options.table.slotOfAddress(endpoint.address)!;
      const rated = this.#feeds.knowledge(slot);
      const knowledge = rated !== "none" && isDemoted[slot] === 1 ? "demoted" : rated;
      const cacheAccuracy = this.#trust.accuracyOf(slot);
      return {
        ...endpoint,
        knowledge,
        knownBlocks: this.#feeds.knownBlocks(slot),
        ...(cacheAccuracy === undefined ? {} : { cacheAccuracy }),
      };
    });
  }

  /** How long a prompt counts as being where it was sent is the plugins' parameter. */
  configure(scheduler: SchedulerConfig): void {
    this.#speculationMs = speculationMsOf(scheduler);
  }

  /** A prompt is about to be sent: to the first choice, and to who reads it before. */
  picked(keys: Uint32Array, { slots, prefill }: Pick<Picked, "slots" | "prefill">): void {
    if (this.#speculationMs === 0 || this.#feeds.isEmpty) return;
    for (const slot of [slots[0], prefill?.[0]]) if (slot !== undefined) this.#claim(keys, slot);
  }

  #claim(keys: Uint32Array, slot: number): void {
    const nowMs = this.#options.clock();
    this.#speculation.expire(nowMs);
    this.#speculation.claim(keys, slot, nowMs + this.#speculationMs);
  }

  /** What was picked has not been sent: nobody has taken it over, and nobody will. */
  unsent(keys: Uint32Array, slot: number): void {
    this.#speculation.withdraw(keys, slot);
  }

  #told(slot: number): void {
    if (this.#speculation.size === 0) return;
    const isWhole = this.#feeds.ratings()[slot] === RATED_EXACT;
    this.#speculation.told(slot, this.#blocks, { nowMs: this.#options.clock(), isWhole });
  }

  /**
   * What the decision that was taken last believed to be cached at `slot`; undefined where it did not go by
   * exact knowledge. `keys` are those it was taken with.
   */
  predictionFor(keys: Uint32Array, slot: number): CachePrediction | undefined {
    if (this.#feeds.isEmpty || keys.length === 0 || keys !== this.#keys) return undefined;
    const isExact = this.#feeds.ratings()[slot] === RATED_EXACT;
    if (!isExact || this.#trust.demoted(this.#options.clock())[slot] === 1) return undefined;
    const held = this.#held[slot]!;
    const sent = this.#sent[slot]!;
    return {
      slot,
      blocks: Math.max(held, sent),
      totalBlocks: keys.length / 2,
      tokens: sent > held ? null : (tokensOf(this.#index.endOfMatch(held), held) ?? null),
      approximateBlocks: this.#approximate[slot]!,
      life: this.#lives[slot]!,
    };
  }

  /** A request has ended. Gives how many tokens were predicted to be cached; undefined if that is not compared. */
  ended({ prediction, model, keys }: Believed, end: ServedEnd): number | undefined {
    const { slot } = prediction;
    const isThere =
      end.isPromptCached && end.slot === slot && this.#lives[slot] === prediction.life;
    if (keys !== null && this.#speculationMs > 0) {
      const nowMs = this.#options.clock();
      // It has been computed now. That its content becomes known may take as long again.
      if (isThere) this.#speculation.read(keys, slot, { nowMs, ttlMs: this.#speculationMs });
      else this.#speculation.withdraw(keys, slot);
    }
    const compared = compare(prediction, end, {
      life: this.#lives[slot]!,
      isExact: this.#feeds.ratings()[slot] === RATED_EXACT,
      tokensUpTo: (blocks) =>
        keys === null || blocks * 2 > keys.length
          ? undefined
          : tokensOf(this.#index.endOf(keys, blocks), blocks),
    });
    if (typeof compared === "string") {
      this.#skipped[compared]++;
      return undefined;
    }
    this.#verdicts[compared.verdict]++;
    this.#trust.compared({ slot, model, nowMs: this.#options.clock() }, compared);
    return compared.predictedTokens;
  }

  // What collectors say; see KvFeeds.

  heard(agent: string): void {
    this.#isAnyHeard = true;
    this.#feeds.heard(agent);
  }

  offered(agent: string, offer: OfferedEndpoints): void {
    this.#intake.offered(agent, offer);
  }

  received(
    agent: string,
    sections: readonly KvSection[],
    frame: { seq: number; bytes: number },
  ): void {
    this.#intake.received(agent, sections, frame);
  }

  lost(agent: string, seq: number): void {
    this.#intake.lost(agent, seq);
  }

  disconnected(agent: string): void {
    this.#intake.disconnected(agent);
  }

  /** The table's endpoints have changed. */
  endpointsChanged(): void {
    this.#feeds.assign();
  }

  endpointRemoved(slot: number): void {
    this.#feeds.endpointRemoved(slot);
    this.#speculation.endpointRemoved(slot);
    this.#trust.endpointRemoved(slot);
    this.#lives[slot]!++;
  }

  endpointRestarted(slot: number): void {
    this.#lives[slot]!++;
    this.#feeds.endpointRestarted(slot);
    // What was compared while its end was not noticed yet says nothing of the new one.
    this.#trust.endpointRestarted(slot);
    this.#speculation.endpointRemoved(slot);
  }

  // Hot path: kv-stream in bench/.
  #exact(
    keys: Uint32Array,
    matchedBlocks: Int32Array,
    tierBlocks: ReadonlyMap<string, Int32Array>,
  ): void {
    const { table, approximate, clock } = this.#options;
    const nowMs = clock();
    this.#keys = keys;
    this.#speculation.expire(nowMs);
    this.#index.match(keys, this.#held, this.#onGpu);
    this.#index.cutToEnds(keys, this.#held, this.#onGpu);
    this.#speculation.match(keys, this.#sent);
    approximate(keys, this.#approximate);
    const ratings = this.#feeds.ratings();
    const isDemoted = this.#trust.demoted(nowMs);
    const gpuBlocks = tierBlocks.get(GPU_TIER);
    const belowBlocks = tierBlocks.get(BELOW_TIER);
    for (let slot = 0; slot < table.columns.slotCount; slot++) {
      const rating = isDemoted[slot] === 1 ? RATED_NONE : ratings[slot]!;
      const known = rating === RATED_NONE ? 0 : this.#held[slot]!;
      let matched = known;
      if (rating >= RATED_PARTIAL) matched = Math.max(matched, this.#sent[slot]!);
      if (rating < RATED_EXACT) matched = Math.max(matched, this.#approximate[slot]!);
      const below = rating === RATED_NONE ? 0 : known - this.#onGpu[slot]!;
      matchedBlocks[slot] = matched;
      if (gpuBlocks !== undefined) gpuBlocks[slot] = matched - below;
      if (belowBlocks !== undefined) belowBlocks[slot] = below;
    }
  }
}

/** Of an end as collectors tell it, of a path of so many blocks. */
function tokensOf(end: number, blocks: number): number | undefined {
  if (end === KV_END_EVEN) return blocks * CONTENT_BLOCK_TOKENS;
  return end === END_UNKNOWN ? undefined : end * KV_TOKEN_UNIT;
}
