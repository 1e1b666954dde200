// What KvFeeds keeps of collectors and of endpoints.

import type { ResidentIndex } from "../../scheduler/kv/resident-index.ts";
import { NO_LANE } from "../../scheduler/kv/resident-lanes.ts";

/** A collector that offers endpoints. */
export interface Sender {
  readonly agent: string;
  /** By address. */
  readonly offers: Map<string, { readonly id: string; readonly isWhole: boolean }>;
  uncreditedBytes: number;
  feedCount: number;
  /** When its socket last brought anything. */
  heardAtMs: number;
  /** Nothing has come for too long, though its socket is open. */
  isSilent: boolean;
}

/** An endpoint that somebody tells of. */
export interface Feed {
  readonly slot: number;
  readonly address: string;
  /** What its sender calls it. */
  id: string;
  sender: Sender | undefined;
  stream: number;
  nextSeq: number;
  /** What is asked for, and not complete; NO_LANE if nothing is. */
  building: number;
  /** What is known; NO_LANE if nothing is. */
  answering: number;
  /** What is known is what the sender's stream says, to its last section. */
  isCurrent: boolean;
  /** What is known was all, when its sender was heard last. */
  wasWhole: boolean;
  /** What answers is as large as an account that was: its sender did not say so before it went. */
  isAsGoodAsWhole: boolean;
  /** What is asked for has come, and knows less than what was known: that goes on answering. */
  isHeldBack: boolean;
  /** Until then it may be held back; 0 while it may not. */
  heldBackUntilMs: number;
  /** How long after the last account it may be asked for again because it lost blocks to the bytes. */
  refillMs: number;
  refillAtMs: number;
}

export function newSender(agent: string, heardAtMs: number): Sender {
  return {
    agent,
    offers: new Map(),
    uncreditedBytes: 0,
    feedCount: 0,
    heardAtMs,
    isSilent: false,
  };
}

export function newFeed(slot: number, address: string): Feed {
  return {
    slot,
    address,
    id: "",
    sender: undefined,
    stream: 0,
    nextSeq: 0,
    building: NO_LANE,
    answering: NO_LANE,
    isCurrent: false,
    wasWhole: false,
    isAsGoodAsWhole: false,
    isHeldBack: false,
    heldBackUntilMs: 0,
    refillMs: 0,
    refillAtMs: 0,
  };
}

/** Whether the sender of an endpoint's account says that it knows all of it. */
export function isSentWhole({ sender, address }: Feed): boolean {
  return sender?.offers.get(address)?.isWhole === true;
}

/** Whether the account that has come is as large as all that was known. */
export function knowsAsMuch(feed: Feed, index: Pick<ResidentIndex, "heldBlocks">): boolean {
  const { answering, building, wasWhole } = feed;
  if (answering === NO_LANE || !wasWhole) return false;
  return index.heldBlocks(building) >= index.heldBlocks(answering);
}

/** Whether it is a part only, and smaller than all that was known. */
export function knowsLess(feed: Feed, index: Pick<ResidentIndex, "heldBlocks">): boolean {
  if (feed.answering === NO_LANE || !feed.wasWhole || isSentWhole(feed)) return false;
  return !knowsAsMuch(feed, index);
}

/**
 * Who is to send an endpoint's account: who is heard before who is silent, a whole one before a partial
 * one, the present sender before another, else who sends least.
 */
export function bestSender(
  senders: Iterable<Sender>,
  address: string,
  present: Sender | undefined,
): Sender | undefined {
  let best: Sender | undefined;
  let bestRank = -1;
  for (const sender of senders) {
    const offer = sender.offers.get(address);
    if (offer === undefined) continue;
    const rank = (sender.isSilent ? 0 : 4) + (offer.isWhole ? 2 : 0) + (sender === present ? 1 : 0);
    const isLessBusy = rank === bestRank && sender.feedCount < best!.feedCount;
    if (rank <= bestRank && !isLessBusy) continue;
    best = sender;
    bestRank = rank;
  }
  return best;
}
