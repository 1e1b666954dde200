// What a pool's sources hold, in keys of tokens: for pools whose prompts are tokenized before a decision.
//
//   events of a source ──► its Rekeyer ──► sink: (slot, token key, holding)
//
// Nothing has to be learned here, and engines with unlike block sizes share keys: see token-keys.ts of the
// scheduler. Everything that a source stores is told, answers too, where requests have keys: every 64 tokens.

import { NONE } from "../../../scheduler/kv/block-table.ts";
import { hitEndHigh, hitEndLow } from "../../../scheduler/kv/hit-end-keys.ts";
import { endingsAsKeys } from "../../../scheduler/kv/residency/endings-as-keys.ts";
import type { HoldingSink } from "../../../scheduler/kv/residency/holding.ts";
import type { KeyChains } from "../../../scheduler/kv/residency/key-chains.ts";
import type {
  KvBlocksRemoved,
  KvBlocksStored,
  KvEventConsumer,
  KvEventSource,
} from "../../../scheduler/kv/residency/kv-event.ts";
import { Rekeyer } from "../../../scheduler/kv/residency/rekeyer.ts";
import type { MetricRegistry } from "../../../telemetry/metrics.ts";
import { METRIC } from "../../../telemetry/names.ts";
import { UnfollowedBlocks } from "../unfollowed-blocks.ts";

/** As many as publishers are followed at once. */
export const TOKEN_SOURCES_MAX = 4_096;

interface Followed {
  readonly slot: number;
  readonly rekeyer: Rekeyer;
}

export class TokenAccount implements KvEventConsumer {
  readonly #sink: HoldingSink;
  readonly #chains: KeyChains | undefined;
  readonly #sourcesMax: number;
  readonly #followed = new Map<KvEventSource, Followed>();
  /** Of an endpoint. */
  readonly #ranks = new Map<string, Set<Followed>>();
  readonly #freeSlots: number[] = [];
  /** By slot; also a source that is gone, until another takes its slot. */
  readonly #sources: KvEventSource[] = [];
  #eventsLeftOut = 0;
  readonly #unfollowed = new UnfollowedBlocks();
  /** Sources past the bound. */
  readonly #leftOut = new Set<KvEventSource>();

  /** `chains` learns which block is behind which, before the sink is told of any. */
  constructor(sink: HoldingSink, chains?: KeyChains, sourcesMax: number = TOKEN_SOURCES_MAX) {
    this.#sink = sink;
    this.#chains = chains;
    this.#sourcesMax = sourcesMax;
  }

  /** Events of sources that are not followed: past the bound, or owned by no endpoint. */
  get eventsLeftOut(): number {
    return this.#eventsLeftOut;
  }

  /** Whose blocks the sink is told of by this slot. */
  sourceAt(slot: number): KvEventSource | undefined {
    return this.#sources[slot];
  }

  /** Blocks that an endpoint's ranks hold on any tier. */
  heldBlocks(endpoint: string): number {
    let sum = 0;
    for (const { rekeyer } of this.#ranks.get(endpoint) ?? []) sum += rekeyer.heldBlocks;
    return sum;
  }

  /** Whether an endpoint holds blocks that are not taken account of, for want of room. */
  lacksBlocks(endpoint: string): boolean {
    for (const source of this.#leftOut) if (source.endpoint === endpoint) return true;
    for (const { rekeyer } of this.#ranks.get(endpoint) ?? []) if (rekeyer.lacksBlocks) return true;
    return false;
  }

  /** Tells the sink once more of every block that an endpoint's ranks hold. */
  tellAgain(endpoint: string): void {
    for (const { rekeyer } of this.#ranks.get(endpoint) ?? []) rekeyer.tellAgain();
  }

  /** `hit-end` of a key that says that a hit can end with a known block; what others end with follows from the keys. */
  tokensUpTo(low: number, high: number): "even" | "hit-end" {
    const chains = this.#chains;
    if (chains === undefined || chains.find(low, high) !== NONE) return "even";
    // The masks are taken back by laying them on again.
    const isHitEnd = chains.find(hitEndLow(low), hitEndHigh(high)) !== NONE;
    return isHitEnd ? "hit-end" : "even";
  }

  /** The topic's model is not looked at: a pool serves one, under whatever names. */
  stored(source: KvEventSource, event: KvBlocksStored): void {
    const rekeyer = this.#rekeyerOf(source);
    if (rekeyer !== undefined) return rekeyer.stored(event);
    this.#eventsLeftOut++;
    if (source.endpoint !== null) this.#leftOut.add(source);
  }

  removed(source: KvEventSource, event: KvBlocksRemoved): void {
    this.#followed.get(source)?.rekeyer.removed(event);
  }

  cleared(source: KvEventSource, isNewProcess: boolean): void {
    this.#leftOut.delete(source);
    const rekeyer = this.#followed.get(source)?.rekeyer;
    if (isNewProcess) rekeyer?.begunAnew();
    else rekeyer?.cleared();
  }

  /** What may be wrong is not claimed any more. Parents are still known, so new blocks are. */
  uncertain(source: KvEventSource): void {
    this.#followed.get(source)?.rekeyer.cleared();
  }

  gone(source: KvEventSource): void {
    this.#leftOut.delete(source);
    const followed = this.#followed.get(source);
    if (followed === undefined) return;
    this.#unfollowed.keep(followed.rekeyer.counts);
    followed.rekeyer.gone();
    this.#followed.delete(source);
    const ranks = this.#ranks.get(source.endpoint!);
    ranks?.delete(followed);
    if (ranks?.size === 0) this.#ranks.delete(source.endpoint!);
    this.#freeSlots.push(followed.slot);
  }

  /** Sets every series; sources' ranks are added up. */
  render(registry: MetricRegistry): void {
    const byEndpoint = new Map<string, { bytes: number; held: number; known: number }>();
    let bytes = 0;
    for (const [{ endpoint }, { rekeyer }] of this.#followed) {
      const sum = byEndpoint.get(endpoint!) ?? { bytes: 0, held: 0, known: 0 };
      sum.bytes += rekeyer.byteLength;
      sum.held += rekeyer.heldBlocks;
      sum.known += rekeyer.knownBlocks;
      byEndpoint.set(endpoint!, sum);
      bytes += rekeyer.byteLength;
    }
    const { kvAccountEndpointBytes, kvAccountHeldBlocks, kvAccountKnownBlocks } = METRIC;
    for (const metric of [kvAccountEndpointBytes, kvAccountHeldBlocks, kvAccountKnownBlocks]) {
      registry.reset(metric);
    }
    for (const [endpoint, sum] of byEndpoint) {
      registry.set(kvAccountEndpointBytes, { endpoint }, sum.bytes);
      registry.set(kvAccountHeldBlocks, { endpoint }, sum.held);
      registry.set(kvAccountKnownBlocks, { endpoint }, sum.known);
    }
    registry.set(METRIC.kvAccountBytes, {}, bytes + (this.#chains?.byteLength ?? 0));
    registry.set(METRIC.kvAccountDroppedTotal, { reason: "event" }, this.#eventsLeftOut);
    const counts = Array.from(this.#followed.values(), ({ rekeyer }) => rekeyer.counts);
    for (const [reason, count] of this.#unfollowed.sum(counts))
      registry.set(METRIC.kvAccountUnfollowedTotal, { reason }, count);
  }

  #rekeyerOf(source: KvEventSource): Rekeyer | undefined {
    const known = this.#followed.get(source);
    if (known !== undefined) return known.rekeyer;
    if (source.endpoint === null || this.#followed.size >= this.#sourcesMax) return undefined;
    const slot = this.#freeSlots.pop() ?? this.#followed.size;
    const chains = this.#chains;
    const endings = endingsAsKeys(this.#sink);
    const told = { isSparse: true, endings, ...(chains === undefined ? {} : { chains }) };
    const rekeyer = new Rekeyer(slot, this.#sink, told);
    const followed = { slot, rekeyer };
    this.#followed.set(source, followed);
    const ranks = this.#ranks.get(source.endpoint) ?? new Set();
    this.#ranks.set(source.endpoint, ranks.add(followed));
    this.#sources[slot] = source;
    return rekeyer;
  }
}
