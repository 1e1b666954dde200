// The modelled pool: its engines, and the time that messages take.

import type { EngineConfig } from "../../src/agents/simulator/model/engine.ts";
import {
  type TransferTiming,
  transferMsPerToken,
} from "../../src/agents/simulator/model/transfer.ts";
import { BLOCK_TOKENS } from "./workload.ts";

/** One-way times in milliseconds. */
export interface Network {
  /** From the decision to the engine: the Worker's and the relay's part. */
  readonly toEngineMs: number;
  /** From the engine to the client. */
  readonly toClientMs: number;
  /** From a relay or collector to the pool's object. */
  readonly reportMs: number;
}

export interface PoolShape {
  readonly endpointCount: number;
  readonly engine: EngineConfig;
  readonly network: Network;
  /** From one sample of an engine's metrics to the next. */
  readonly scrapeIntervalMs: number;
  /** What each endpoint does of a request, by slot, as its label says; absent: everything. */
  readonly roles?: readonly string[];
  /** Of blocks between engines. */
  readonly transfer?: TransferTiming;
}

/** KV tokens of one engine: 2.384 M over 8 replicas, as published for Qwen3-32B on 2 × H100. */
const KV_TOKENS = 298_000;

const CHUNK_TOKENS = 8_192;
const PREFILL_TOKENS_PER_S = 15_928;
const STEP_MS = 24;
/** vLLM's default for this GPU. */
const SEQUENCES_MAX = 1_024;

/**
 * Qwen3-32B on two H100 (TP 2) under vLLM, after llm-d's published benchmarks: 8192 tokens a chunk,
 * 15,928 tokens/s of prefill. What a step takes is fitted to both plateaus of the shared-prefix run
 * (test/bench/simulation/calibration.test.ts).
 */
export const QWEN3_32B_2XH100: EngineConfig = {
  blockSize: BLOCK_TOKENS,
  blockCount: Math.floor(KV_TOKENS / BLOCK_TOKENS),
  sequencesMax: SEQUENCES_MAX,
  waitingMax: 100_000,
  batchedTokensMax: CHUNK_TOKENS,
  modelLengthMax: 262_144,
  timing: {
    calculator: "roofline",
    // A chunk on an idle engine, its step included, computes at the published peak.
    prefillMsPerToken: 1_000 / PREFILL_TOKENS_PER_S - STEP_MS / CHUNK_TOKENS,
    roofline: {
      stepMs: STEP_MS,
      decodeMsPerSequence: 0.02,
      decodeMsPerContextToken: 0.000_012_5,
    },
    // Of the other calculators.
    timeToFirstToken: { meanMs: 0, stdDevMs: 0 },
    interTokenLatency: { meanMs: 0, stdDevMs: 0 },
    prefillOverheadMs: 0,
    prefillStdDevMs: 0,
    timeFactorUnderLoad: 1,
    sequencesMax: SEQUENCES_MAX,
  },
};

/** Of the same model: 64 layers, 8 KV heads of 128 in 16 bits. */
const KV_BYTES_PER_TOKEN = 262_144;
/** What RDMA makes of a link of 200 Gb/s. */
const LINK_GIGABYTES_PER_S = 20;

/** Engines that have met before. */
export const RDMA_200G: TransferTiming = {
  latencyMs: 2,
  msPerToken: transferMsPerToken(KV_BYTES_PER_TOKEN, LINK_GIGABYTES_PER_S),
  handshakeMs: 0,
};

/** The pool of the published benchmarks: 8 endpoints in one place. */
export const DEFAULT_SHAPE: PoolShape = {
  endpointCount: 8,
  engine: QWEN3_32B_2XH100,
  network: { toEngineMs: 10, toClientMs: 10, reportMs: 10 },
  scrapeIntervalMs: 200,
  transfer: RDMA_200G,
};
