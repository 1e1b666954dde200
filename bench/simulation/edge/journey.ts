// A request between its isolate and its engine, and what its relay tells of the end.

import type { PreparedShards } from "../../../src/scheduler/shards/shard-of.ts";
import type { Flight } from "../flight.ts";
import type { Decided, Mind } from "./ways.ts";

export interface Isolate {
  readonly colo: number;
  readonly rttMs: number;
  readonly mind: Mind | undefined;
  /** The map that it goes by. */
  shards: PreparedShards;
}

/** A request on its way. */
export interface Journey {
  readonly flight: Flight;
  readonly isolate: Isolate;
  readonly shard: number;
  readonly decided: Decided;
  ticket: string;
  /** Of the ticket. */
  attempt: number;
  /** When the relay had it. */
  relayedAtMs: number;
  /** The endpoint that was chosen for it; -1 before. */
  charged: number;
  bestTokens: number;
}

/** Of what was called off, as its relay tells the end. */
export const NOTHING_DONE = {
  isPromptCached: false,
  ttftMs: null,
  durationMs: 0,
  promptTokens: null,
  cachedTokens: null,
  completionTokens: null,
};

/** As a relay reports it: times from the moment at which it got the request. */
export function ticketEndOf(
  { flight, relayedAtMs }: Journey,
  slot: number,
  end: { atMs: number; cachedTokens: number },
) {
  return {
    slot,
    isPromptCached: true,
    ttftMs: flight.firstTokenAtMs - relayedAtMs,
    durationMs: end.atMs - relayedAtMs,
    promptTokens: flight.promptCount,
    cachedTokens: end.cachedTokens,
    completionTokens: flight.outputCount,
  };
}
