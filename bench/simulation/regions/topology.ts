// Three regions, what lies between them, and how word of them gets around.

import { DEFAULT_SHAPE, type PoolShape } from "../pool-shape.ts";

export const REGIONS = ["us", "eu", "asia"] as const;

/** Inside a region: from an edge to a pool and back. */
const LOCAL_RTT_MS = 4;
const BETWEEN_MS = [
  [LOCAL_RTT_MS, 80, 130],
  [80, LOCAL_RTT_MS, 150],
  [130, 150, LOCAL_RTT_MS],
] as const;

/** The directory is in this region. */
const DIRECTORY_REGION = 0;

/** Engines beside the agents that report of them and the relay that sends to them. */
const POOL_NETWORK = { toEngineMs: 2, toClientMs: 0, reportMs: 2 } as const;

export interface Topology {
  /** Of the pool in each region. */
  readonly shape: PoolShape;
  readonly isolatesPerRegion: number;
  /** From one summary of a pool to the next, and from one reading of the directory to the next. */
  readonly summaryIntervalMs: number;
  readonly digestIntervalMs: number;
  readonly digestBytesMax: number;
}

export const TOPOLOGY: Topology = {
  shape: { ...DEFAULT_SHAPE, network: POOL_NETWORK },
  isolatesPerRegion: 4,
  summaryIntervalMs: 1_000,
  digestIntervalMs: 2_000,
  digestBytesMax: 32 * 1024,
};

export function rttMs(region: number, pool: number): number {
  return BETWEEN_MS[region]![pool]!;
}

export function toDirectoryMs(region: number): number {
  return rttMs(region, DIRECTORY_REGION) / 2;
}
