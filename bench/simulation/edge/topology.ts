// Where isolates, objects and engines are, and what happens to messages between them.
//
//   client ─ isolate ──½ rtt──▶ pool's objects        once, where the isolate asks
//            isolate ──½ rtt──▶ relay ──▶ engine      always
//            client ◀──½ rtt── engine
//
// The pool is in one place, its objects and relay in it. Clients are beside their isolates.

import { DEFAULT_SHAPE, type PoolShape } from "../pool-shape.ts";

export interface Colo {
  readonly name: string;
  /** To the pool's place and back. */
  readonly rttMs: number;
  /** Of the requests. */
  readonly share: number;
}

export interface EdgeTopology {
  readonly shape: PoolShape;
  readonly colos: readonly Colo[];
  readonly isolatesPerColo: number;
  /** Of a way's mean, how much later a message comes in the mean: drawn from the exponential distribution. */
  readonly jitterShare: number;
  /** Of the calls between an isolate and an object that are off requests' way, those that never arrive. */
  readonly lostShare: number;
}

/** Engines beside the agents that report of them and the relay that sends to them. */
const POOL_NETWORK = { toEngineMs: 2, toClientMs: 0, reportMs: 2 } as const;

export const POOL: PoolShape = { ...DEFAULT_SHAPE, endpointCount: 64, network: POOL_NETWORK };

/** A colo beside the pool, one on the same continent, and one across an ocean. */
export const NEAR_AND_FAR: readonly Colo[] = [
  { name: "near", rttMs: 2, share: 1 / 3 },
  { name: "far", rttMs: 40, share: 1 / 3 },
  { name: "overseas", rttMs: 120, share: 1 / 3 },
];

/** All are so far away. */
export function colosAt(rttMs: number): readonly Colo[] {
  return ["a", "b", "c"].map((name) => ({ name, rttMs, share: 1 / 3 }));
}

export const TOPOLOGY: EdgeTopology = {
  shape: POOL,
  colos: colosAt(40),
  isolatesPerColo: 100,
  jitterShare: 0.1,
  lostShare: 0.01,
};
