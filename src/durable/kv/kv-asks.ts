// What collectors are asked for: each endpoint's account on a stream of its own, so many at a time.
//
//   ask ──► waiting ──a lane is free──► building, on a stream ──completed──► on the stream still ──end──► over
//
// Streams are numbered from a random start in each life, so that what is still under way from an earlier one finds
// nobody. What comes on them, and whose account answers, is KvFeeds'.

import { PROTOCOL_LIMITS } from "../../agents/protocol/limits.ts";
import type { KvMessage } from "../../agents/protocol/messages.ts";
import type { ResidentIndex } from "../../scheduler/kv/resident-index.ts";
import { NO_LANE } from "../../scheduler/kv/resident-lanes.ts";
import type { Feed } from "./kv-feed.ts";

/** Why everything was asked for again. Closed set; a metric label. */
const ASK_REASONS = ["offered", "gap", "restarted", "shed"] as const;
export type AskReason = (typeof ASK_REASONS)[number];

export interface KvAsksOptions {
  readonly index: ResidentIndex;
  /** The first stream's number: any. */
  readonly firstStream: number;
  readonly tell: (agent: string, message: KvMessage) => void;
  /** Accounts that are built at once. */
  readonly buildingMax: number;
}

export class KvAsks {
  /** Since the beginning. */
  readonly counts: Record<AskReason, number> = { offered: 0, gap: 0, restarted: 0, shed: 0 };
  readonly #options: KvAsksOptions;
  readonly #byStream = new Map<number, Feed>();
  /** Feeds whose sender is to be asked as soon as there is a lane. */
  readonly #waiting = new Map<Feed, AskReason>();
  #buildingCount = 0;
  #nextStream: number;

  constructor(options: KvAsksOptions) {
    this.#options = options;
    this.#nextStream = options.firstStream >>> 0;
  }

  /** Whose account comes on a stream; undefined of one that is over. */
  feedOf(stream: number): Feed | undefined {
    return this.#byStream.get(stream);
  }

  isWaiting(feed: Feed): boolean {
    return this.#waiting.has(feed);
  }

  /** The feed's sender is to be asked for everything, by `pump`. Its stream has ended. */
  ask(feed: Feed, reason: AskReason): void {
    this.#waiting.set(feed, reason);
  }

  /** An account that was being built has come whole. */
  completed(): void {
    this.#buildingCount--;
  }

  /** Nothing more is heard of the feed's stream, and its sender is not asked. */
  end(feed: Feed): void {
    this.#waiting.delete(feed);
    if (this.#byStream.get(feed.stream) === feed) this.#byStream.delete(feed.stream);
    // What is held back has come whole.
    if (feed.building !== NO_LANE && !feed.isHeldBack) this.#buildingCount--;
  }

  /** Asks those that wait, as far as there are lanes: each feed gets a stream and a lane to build in. */
  pump(): void {
    if (this.#waiting.size === 0) return;
    const { index, tell, buildingMax } = this.#options;
    const asked = new Map<string, { endpoint: string; stream: number }[]>();
    for (const [feed, reason] of this.#waiting) {
      if (this.#buildingCount >= buildingMax) break;
      const lane = index.openLane(feed.slot);
      if (lane === NO_LANE) break;
      this.#begin(feed, lane);
      this.counts[reason]++;
      const { agent } = feed.sender!;
      const streams = asked.get(agent) ?? [];
      streams.push({ endpoint: feed.id, stream: feed.stream });
      asked.set(agent, streams);
    }
    for (const [agent, streams] of asked) {
      for (let i = 0; i < streams.length; i += PROTOCOL_LIMITS.kvStreamsMax) {
        const some = streams.slice(i, i + PROTOCOL_LIMITS.kvStreamsMax);
        tell(agent, { t: "kv-send", streams: some });
      }
    }
  }

  #begin(feed: Feed, lane: number): void {
    this.#waiting.delete(feed);
    this.#buildingCount++;
    feed.building = lane;
    feed.nextSeq = 0;
    feed.stream = this.#nextStream;
    this.#nextStream = (this.#nextStream + 1) >>> 0;
    this.#byStream.set(feed.stream, feed);
  }
}
