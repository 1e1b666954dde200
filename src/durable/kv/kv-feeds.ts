// Who tells what each endpoint holds, and how far it is known.
//
// Every collector offers the endpoints it follows. One of them sends an endpoint's account: a whole one
// before a partial one, the present sender before another, else who sends least. When it leaves, or
// another knows more, the next is asked at once; also when nothing comes from it though its socket is open.
//
//   none ──asked──► building ──completes──► current          in lanes of the ResidentIndex:
//                      ▲                      │              what was known goes on answering while the
//                      └── gap, new sender ───┘              next account is built, then it is replaced
//
// A collector that has begun anew tells what it knows so far, which is little at first. Where what was known
// was all, it goes on answering until the new sender knows all of it or more, or for heldBackMs.
//
// Nothing is stored: an object that lost its memory asks everybody for everything. Who is asked, and on which stream
// the answer comes, is kv-asks.ts.

import type { KvSection } from "../../agents/protocol/kv-frames.ts";
import { PROTOCOL_LIMITS } from "../../agents/protocol/limits.ts";
import type { KvMessage } from "../../agents/protocol/messages.ts";
import type { ResidentIndex } from "../../scheduler/kv/resident-index.ts";
import { NO_LANE } from "../../scheduler/kv/resident-lanes.ts";
import { ENDPOINTS_MAX, type EndpointTable } from "../../scheduler/model/endpoint-table.ts";
import type { Clock } from "../../scheduler/support/clock.ts";
import type { OfferedEndpoints } from "../agent-frames.ts";
import type { Knowledge } from "../state.ts";
import { type AskReason, KvAsks } from "./kv-asks.ts";
import {
  bestSender,
  type Feed,
  isSentWhole,
  knowsAsMuch,
  knowsLess,
  newFeed,
  newSender,
  type Sender,
} from "./kv-feed.ts";

export const KV_FEED_LIMITS = {
  /**
   * KV frames of one collector that may be under way, sent and not applied: over a round trip of 20 ms
   * that is two million keys a second. What has come waits in KvIntake, where picks pass it.
   */
  windowBytes: 512 * 1024,
  /** Accounts that are built at once; further endpoints wait for one of these. */
  buildingMax: 128,
  /** Entries looked at for dead lanes before others have their turn. */
  sweepEntries: 16_384,
  /** A collector that says nothing for so long is silent, if its pool is scraped that often: see KvFeedsOptions. */
  silentMs: 5_000,
  /** An endpoint that lost blocks to the bytes is asked for again after so long, then twice that, up to the next. */
  refillMsMin: 30_000,
  refillMsMax: 600_000,
  /**
   * A new sender's account that knows less than what was known is held back so long, from when it is asked: a
   * collector that has begun anew is told what prompts became within three seconds. What was known ages meanwhile.
   */
  heldBackMs: 10_000,
  /** Silence, refills and what is held back are looked at so often, at most. */
  watchMs: 1_000,
} as const;
export type KvFeedLimits = Readonly<Record<keyof typeof KV_FEED_LIMITS, number>>;
/** What is known of an endpoint, as a number that is compared in a decision. */
const KNOWLEDGE = ["none", "partial", "exact"] as const satisfies Knowledge[];
export const RATED_NONE = 0;
export const RATED_PARTIAL = 1;
export const RATED_EXACT = 2;
/** Credit is told when so much of the window has come: a message for several frames. */
const CREDIT_SHARE = 1 / 8;
/** Keys of a full frame, each with where its content ends. */
const FRAME_BYTES_MAX = 10 * PROTOCOL_LIMITS.kvFrameKeysMax;

/** Since the beginning. */
export interface KvFeedCounts {
  readonly asks: Readonly<Record<AskReason, number>>;
  /** Keys applied. */
  keys: number;
}

export interface KvFeedsOptions {
  readonly table: EndpointTable;
  readonly index: ResidentIndex;
  /** The first stream's number: any. */
  readonly firstStream: number;
  readonly tell: (agent: string, message: KvMessage) => void;
  readonly clock: Clock;
  /** How long nothing may come of a collector that is well; as it scrapes, above KV_FEED_LIMITS.silentMs. */
  readonly silentAfterMs: () => number;
  /** Calls back in a later turn. */
  readonly defer: (callback: () => void) => void;
  /** A section of an endpoint's account was applied. */
  readonly told?: (slot: number) => void;
  readonly limits?: KvFeedLimits;
}

export class KvFeeds {
  readonly counts: KvFeedCounts;
  readonly #options: KvFeedsOptions;
  readonly #limits: KvFeedLimits;
  readonly #index: ResidentIndex;
  readonly #senders = new Map<string, Sender>();
  /** By slot. */
  readonly #feeds = new Map<number, Feed>();
  readonly #asks: KvAsks;
  /** By slot: index in KNOWLEDGE. Not as things are unless #isRated, and #ratedShed pairs found no room then and now. */
  readonly #ratings = new Uint8Array(ENDPOINTS_MAX);
  #isRated = false;
  #ratedShed = 0;
  #isSweeping = false;
  #watchAtMs = 0;

  constructor(options: KvFeedsOptions) {
    this.#options = options;
    this.#limits = options.limits ?? KV_FEED_LIMITS;
    this.#index = options.index;
    const { index, firstStream, tell } = options;
    const { buildingMax } = this.#limits;
    this.#asks = new KvAsks({ index, firstStream, tell, buildingMax });
    this.counts = { asks: this.#asks.counts, keys: 0 };
  }

  /** Nobody has told anything that is still known. */
  get isEmpty(): boolean {
    return this.#feeds.size === 0;
  }

  knowledge(slot: number): Knowledge {
    return KNOWLEDGE[this.ratings()[slot]!]!;
  }

  /** By slot: RATED_NONE, RATED_PARTIAL or RATED_EXACT. A view, valid until anything is told. */
  ratings(): Uint8Array {
    const { shed, leftOut } = this.#index.counts;
    if (this.#isRated && this.#ratedShed === shed + leftOut) return this.#ratings;
    this.#isRated = true;
    this.#ratedShed = shed + leftOut;
    this.#ratings.fill(RATED_NONE);
    for (const feed of this.#feeds.values()) {
      if (feed.answering === NO_LANE) continue;
      const { sender, isCurrent } = feed;
      const isWhole = isSentWhole(feed) && sender?.isSilent === false;
      const isExact = isWhole && isCurrent && !this.#index.lacksBlocks(feed.answering);
      this.#ratings[feed.slot] = isExact ? RATED_EXACT : RATED_PARTIAL;
    }
    return this.#ratings;
  }

  /** Blocks that are known of an endpoint. */
  knownBlocks(slot: number): number {
    const lane = this.#feeds.get(slot)?.answering ?? NO_LANE;
    return lane === NO_LANE ? 0 : this.#index.heldBlocks(lane);
  }

  /** How many blocks of a path an endpoint holds without a gap from the first, by what was told of it. O(blocks). */
  heldOf(slot: number, keys: Uint32Array): number {
    const lane = this.#feeds.get(slot)?.answering ?? NO_LANE;
    const count = keys.length >>> 1;
    if (lane === NO_LANE) return 0;
    let held = 0;
    while (held < count && this.#index.isHeld(lane, keys[held * 2]!, keys[held * 2 + 1]!)) held++;
    return held;
  }

  /** Whether an endpoint holds the last block of a path. */
  holdsEnd(slot: number, keys: Uint32Array): boolean {
    const lane = this.#feeds.get(slot)?.answering ?? NO_LANE;
    const { length } = keys;
    return lane !== NO_LANE && this.#index.isHeld(lane, keys[length - 2]!, keys[length - 1]!);
  }

  /** A collector says which endpoints it follows, in place of what it said before. */
  offered(agent: string, { whole, partial }: OfferedEndpoints): void {
    const sender = this.#senders.get(agent) ?? newSender(agent, this.#options.clock());
    this.#senders.set(agent, sender);
    this.#isRated = false;
    sender.offers.clear();
    for (const { address, id } of partial) sender.offers.set(address, { id, isWhole: false });
    for (const { address, id } of whole) sender.offers.set(address, { id, isWhole: true });
    this.assign();
    for (const feed of this.#feeds.values()) if (feed.isHeldBack) this.#replace(feed);
  }

  /** The collector's connection is gone, or begins anew: nothing more comes on its streams. */
  disconnected(agent: string): void {
    const sender = this.#senders.get(agent);
    if (sender === undefined) return;
    this.#senders.delete(agent);
    this.#isRated = false;
    for (const feed of this.#feeds.values()) if (feed.sender === sender) this.#dismiss(feed);
    this.assign();
  }

  /** Something has come from the collector, whatever it was. */
  heard(agent: string): void {
    const sender = this.#senders.get(agent);
    if (sender === undefined) return;
    sender.heardAtMs = this.#options.clock();
    if (!sender.isSilent) return;
    sender.isSilent = false;
    this.#isRated = false;
    this.assign();
  }

  /** Finds collectors that have fallen silent, and endpoints that there is room for again. Cheap: call it often. */
  watch(): void {
    const nowMs = this.#options.clock();
    if (nowMs < this.#watchAtMs) return;
    this.#watchAtMs = nowMs + this.#limits.watchMs;
    const silentAtMs = nowMs - Math.max(this.#limits.silentMs, this.#options.silentAfterMs());
    const silent = [...this.#senders.values()].filter(
      ({ isSilent, heardAtMs }) => !isSilent && heardAtMs < silentAtMs,
    );
    for (const sender of silent) sender.isSilent = true;
    if (silent.length > 0) {
      this.#isRated = false;
      this.assign();
    }
    for (const feed of this.#feeds.values()) {
      if (feed.isHeldBack) this.#replace(feed);
      this.#refill(feed, nowMs);
    }
    this.#asks.pump();
  }

  /** A frame's sections, of `bytes` all in all. Those of streams that are over are ignored. */
  // Hot path: kv-stream in bench/.
  received(
    agent: string,
    sections: readonly KvSection[],
    frame: { seq: number; bytes: number },
  ): void {
    const sender = this.#senders.get(agent);
    if (sender === undefined) return;
    for (const section of sections) {
      const feed = this.#asks.feedOf(section.stream);
      if (feed === undefined || feed.sender !== sender) continue;
      if (section.seq !== feed.nextSeq || section.begins !== (section.seq === 0)) {
        this.#ask(feed, "gap");
        continue;
      }
      feed.nextSeq++;
      this.#apply(feed, section);
      this.#options.told?.(feed.slot);
    }
    this.#asks.pump();
    sender.uncreditedBytes += frame.bytes;
    if (sender.uncreditedBytes < this.#creditBytes()) return;
    sender.uncreditedBytes = 0;
    this.#options.tell(agent, { t: "kv-credit", seq: frame.seq });
  }

  /** With less than that uncredited a sender still has room for a full frame: else both would wait for ever. */
  #creditBytes(): number {
    const { windowBytes } = this.#limits;
    return Math.min(windowBytes * CREDIT_SHARE, Math.max(0, windowBytes - FRAME_BYTES_MAX));
  }

  /** Frames of the collector were lost before `seq`: perhaps the last ones of any stream. */
  lost(agent: string, seq: number): void {
    const sender = this.#senders.get(agent);
    if (sender === undefined) return;
    this.#options.tell(agent, { t: "kv-credit", seq });
    for (const feed of this.#feeds.values()) if (feed.sender === sender) this.#ask(feed, "gap");
    this.#asks.pump();
  }

  /** The endpoint's engine is a new process: what was known is void. */
  endpointRestarted(slot: number): void {
    const feed = this.#feeds.get(slot);
    if (feed === undefined) return;
    this.#closeAnswering(feed);
    if (feed.sender !== undefined) this.#ask(feed, "restarted");
    this.#asks.pump();
  }

  /** The slot is about to be given to another endpoint. */
  endpointRemoved(slot: number): void {
    const feed = this.#feeds.get(slot);
    if (feed === undefined) return;
    this.#stop(feed);
    this.#closeAnswering(feed);
    this.#feeds.delete(slot);
    this.#asks.pump();
  }

  /** Gives each endpoint of the table its best sender: after every change of either. */
  assign(): void {
    const { table } = this.#options;
    for (const slot of table.slots()) {
      const { address } = table.endpoint(slot)!;
      const present = this.#feeds.get(slot);
      const best = bestSender(this.#senders.values(), address, present?.sender);
      const id = best?.offers.get(address)?.id ?? "";
      if (best === present?.sender && (best === undefined || id === present?.id)) continue;
      if (present !== undefined) this.#stop(present);
      if (best === undefined) continue;
      const feed = present ?? newFeed(slot, address);
      this.#feeds.set(slot, feed);
      feed.sender = best;
      feed.id = id;
      if (feed.heldBackUntilMs === 0) {
        feed.heldBackUntilMs = this.#options.clock() + this.#limits.heldBackMs;
      }
      best.feedCount++;
      this.#ask(feed, "offered");
    }
    this.#asks.pump();
  }

  #apply(feed: Feed, section: KvSection): void {
    this.#index.hold(feed.building === NO_LANE ? feed.answering : feed.building, section);
    const { keys, completes } = section;
    this.counts.keys += keys.length / 2;
    if (feed.building === NO_LANE) return;
    if (completes) this.#asks.completed();
    if (completes || feed.isHeldBack) this.#replace(feed);
  }

  /** The account that has come answers from now on, unless it is held back. */
  #replace(feed: Feed): void {
    feed.isHeldBack = knowsLess(feed, this.#index) && this.#options.clock() < feed.heldBackUntilMs;
    if (feed.isHeldBack) return;
    feed.isAsGoodAsWhole = knowsAsMuch(feed, this.#index);
    this.#closeAnswering(feed);
    feed.answering = feed.building;
    feed.building = NO_LANE;
    feed.isCurrent = true;
    feed.heldBackUntilMs = 0;
    this.#isRated = false;
    this.#index.answer(feed.answering);
    if (!this.#index.lacksBlocks(feed.answering)) feed.refillMs = 0;
    feed.refillMs = Math.max(feed.refillMs, this.#limits.refillMsMin);
    feed.refillAtMs = this.#options.clock() + feed.refillMs;
  }

  /** Asks for an account again that lost blocks to the bytes, if as much again as is left of it has room. */
  #refill(feed: Feed, nowMs: number): void {
    const { answering, building, sender } = feed;
    if (answering === NO_LANE || building !== NO_LANE || sender === undefined) return;
    if (!this.#index.lacksBlocks(answering) || nowMs < feed.refillAtMs) return;
    if (this.#asks.isWaiting(feed) || !this.#index.hasRoomForAnother(answering)) return;
    feed.refillMs = Math.min(feed.refillMs * 2, this.#limits.refillMsMax);
    this.#ask(feed, "shed");
  }

  /** What comes on its present stream counts no more; its sender is to be asked for everything. */
  #ask(feed: Feed, reason: AskReason): void {
    this.#abandon(feed);
    this.#asks.ask(feed, reason);
  }

  /** Its sender, if it is still there, is to send it no more. */
  #stop(feed: Feed): void {
    const { sender, stream } = feed;
    const isAsked = this.#asks.feedOf(stream) === feed;
    this.#dismiss(feed);
    if (sender === undefined || !isAsked) return;
    this.#options.tell(sender.agent, { t: "kv-stop", streams: [stream] });
  }

  #dismiss(feed: Feed): void {
    if (!feed.isHeldBack) feed.heldBackUntilMs = 0;
    this.#abandon(feed);
    if (feed.sender !== undefined) feed.sender.feedCount--;
    feed.sender = undefined;
  }

  /** The stream is over. What is known stays, as it was. */
  #abandon(feed: Feed): void {
    this.#asks.end(feed);
    if (feed.isCurrent) feed.wasWhole = isSentWhole(feed) || feed.isAsGoodAsWhole;
    feed.isCurrent = false;
    this.#isRated = false;
    if (feed.building === NO_LANE) return;
    feed.isHeldBack = false;
    this.#closeLane(feed.building);
    feed.building = NO_LANE;
  }

  #closeAnswering(feed: Feed): void {
    if (feed.answering === NO_LANE) return;
    this.#isRated = false;
    this.#closeLane(feed.answering);
    feed.answering = NO_LANE;
  }

  #closeLane(lane: number): void {
    this.#index.closeLane(lane);
    if (this.#isSweeping) return;
    this.#isSweeping = true;
    this.#options.defer(() => this.#sweep());
  }

  #sweep(): void {
    this.#isSweeping = this.#index.sweep(this.#limits.sweepEntries);
    if (this.#isSweeping) this.#options.defer(() => this.#sweep());
    this.#asks.pump();
  }
}
