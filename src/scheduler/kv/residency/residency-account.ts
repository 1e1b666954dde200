// What every source of a pool holds, in content keys: the receiver of KV events.
//
//   KvEventSource ──► slot, Rekeyer ──► ContentResidency ──► sink: (slot, content key, holding)
//
// A source gets a slot when it is first named and gives it back when it is gone; and a second one where its hits
// do not end with every block that it holds. One per pool and engine block size, as ContentResidency is.

import {
  ContentResidency,
  type ContentResidencyCounts,
  type ContentResidencyOptions,
  type LearnedPrompt,
} from "./content-residency.ts";
import { type EndingSink, HELD_ON_GPU, type HoldingSink, NOT_HELD } from "./holding.ts";
import type {
  KvBlocksRemoved,
  KvBlocksStored,
  KvEventConsumer,
  KvEventSource,
} from "./kv-event.ts";
import type { RekeyerCounts } from "./rekeyer-counts.ts";
import { Rekeyer, REKEYER_LIMITS } from "./rekeyer.ts";
import { TOKEN_SLOTS_MAX } from "./token-holders.ts";

export interface ResidencyAccountOptions extends ContentResidencyOptions {
  /** Of one source. */
  readonly rekeyerBytesMax?: number;
}

/** What is known of one source. */
export interface SourceFigures {
  readonly slot: number;
  /** Token blocks on any tier. */
  readonly heldBlocks: number;
  /** Of these, those that content is known for. */
  readonly learnedBlocks: number;
  /** Blocks whose tokens are known, held or not. */
  readonly knownBlocks: number;
  /** Whether it may hold others, that there was no room for. */
  readonly lacksBlocks: boolean;
  readonly byteLength: number;
  readonly counts: Readonly<RekeyerCounts>;
}

export class ResidencyAccount implements KvEventConsumer {
  readonly #contents: ContentResidency;
  readonly #rekeyerBytesMax: number;
  readonly #slotsMax: number;
  readonly #rekeyers = new Map<KvEventSource, Rekeyer>();
  readonly #slots = new Map<KvEventSource, number>();
  /** By slot: the one that says where its hits end. */
  readonly #endingSlots = new Map<number, number>();
  readonly #endings: EndingSink = {
    endsMarked: (slot, isMarked) => this.#endsMarked(slot, isMarked),
    endsHit: (slot, low, high, isEnd) => {
      const ending = this.#endingSlots.get(slot);
      if (ending === undefined) return;
      this.#contents.held(ending, low, high, isEnd ? HELD_ON_GPU : NOT_HELD);
    },
  };
  readonly #freeSlots: number[] = [];
  /** By slot; also a source that is gone, until another takes its slot. */
  readonly #sources: KvEventSource[] = [];
  #slotsEnd = 0;
  #eventsLeftOut = 0;

  /** The sink gets content keys, by the slots that `figures` tells. */
  constructor(sink: HoldingSink, options: ResidencyAccountOptions = {}) {
    this.#contents = new ContentResidency(sink, options);
    this.#rekeyerBytesMax = options.rekeyerBytesMax ?? REKEYER_LIMITS.bytesMax;
    this.#slotsMax = options.slotsMax ?? TOKEN_SLOTS_MAX;
  }

  /** Bytes of all arrays. */
  get byteLength(): number {
    let sum = this.#contents.byteLength;
    for (const rekeyer of this.#rekeyers.values()) sum += rekeyer.byteLength;
    return sum;
  }

  get contentCounts(): Readonly<ContentResidencyCounts> {
    return this.#contents.counts;
  }

  /** Events of sources that are not followed: past the slots, or owned by no endpoint. */
  get eventsLeftOut(): number {
    return this.#eventsLeftOut;
  }

  /** Undefined for a source that was not named, or is not followed. */
  figures(source: KvEventSource): SourceFigures | undefined {
    const rekeyer = this.#rekeyers.get(source);
    const slot = this.#slots.get(source);
    if (rekeyer === undefined || slot === undefined) return undefined;
    const { heldBlocks, knownBlocks, lacksBlocks, byteLength, counts } = rekeyer;
    const learnedBlocks = this.#contents.heldKnown(slot);
    return { slot, heldBlocks, learnedBlocks, knownBlocks, lacksBlocks, byteLength, counts };
  }

  /** Content blocks of which it is known what they became. */
  get contentBlocks(): number {
    return this.#contents.contentBlocks;
  }

  /** Whose blocks the sink is told of by this slot. */
  sourceAt(slot: number): KvEventSource | undefined {
    return this.#sources[slot];
  }

  /** See ContentResidency. */
  endOf(low: number, high: number): number | undefined {
    return this.#contents.endOf(low, high);
  }

  learn(prompt: LearnedPrompt): void {
    this.#contents.learn(prompt);
  }

  /** The topic's model is not looked at: a pool serves one, under whatever names. */
  stored(source: KvEventSource, event: KvBlocksStored): void {
    this.#rekeyerOf(source)?.stored(event);
  }

  removed(source: KvEventSource, event: KvBlocksRemoved): void {
    this.#rekeyerOf(source)?.removed(event);
  }

  cleared(source: KvEventSource, isNewProcess: boolean): void {
    const rekeyer = this.#rekeyerOf(source);
    if (isNewProcess) rekeyer?.begunAnew();
    else rekeyer?.cleared();
  }

  /** What may be wrong is not claimed any more. Parents are still known, so new blocks are. */
  uncertain(source: KvEventSource): void {
    this.#rekeyerOf(source)?.cleared();
  }

  gone(source: KvEventSource): void {
    const slot = this.#slots.get(source);
    if (slot === undefined) return;
    this.#rekeyers.get(source)?.gone();
    this.#rekeyers.delete(source);
    this.#slots.delete(source);
    this.#freeSlots.push(slot);
  }

  #rekeyerOf(source: KvEventSource): Rekeyer | undefined {
    const known = this.#rekeyers.get(source);
    if (known !== undefined) return known;
    const slot = source.endpoint === null ? undefined : this.#takeSlot();
    if (slot === undefined) {
      this.#eventsLeftOut++;
      return undefined;
    }
    const told = { bytesMax: this.#rekeyerBytesMax, endings: this.#endings };
    const rekeyer = new Rekeyer(slot, this.#contents, told);
    this.#rekeyers.set(source, rekeyer);
    this.#slots.set(source, slot);
    this.#sources[slot] = source;
    return rekeyer;
  }

  /** Without a slot for it, hits count as ending anywhere. */
  #endsMarked(slot: number, isMarked: boolean): void {
    const known = this.#endingSlots.get(slot);
    if (!isMarked && known !== undefined) {
      this.#contents.endEndings(known);
      this.#endingSlots.delete(slot);
      this.#freeSlots.push(known);
    }
    const ending = isMarked ? this.#takeSlot() : undefined;
    if (ending === undefined) return;
    this.#endingSlots.set(slot, ending);
    this.#contents.beginEndings(ending, slot);
  }

  #takeSlot(): number | undefined {
    const free = this.#freeSlots.pop();
    if (free !== undefined) return free;
    return this.#slotsEnd < this.#slotsMax ? this.#slotsEnd++ : undefined;
  }
}
