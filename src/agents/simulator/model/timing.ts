// How long a step of the engine takes, in milliseconds of virtual time.
//
//   LF       = 1 + (F - 1) · (N - 1) / (C - 1)        1 when C <= 1
//   prefill  = per-token: draw(OH·LF + tokens·PT·LF)  OH once in the step that begins a prompt
//              constant:  draw(TTFT·LF)               spread over the chunks of a prompt
//   decode   = draw(ITL·LF)
//   step     = max(prefill, decode)
//
// N running sequences, C max-num-seqs, F time-factor-under-load. A prompt that fits one step, on an
// engine that is otherwise idle or only decodes, so takes exactly what llm-d-inference-sim makes it
// sleep. Prompts that share a step share its compute: with `per-token` their tokens add up, which is
// what makes a busy engine slow; with `constant` the longest counts.
//
// Source: llm-d-inference-sim pkg/llm-d-inference-sim/latencies.go, pkg/common/utils.go.
//
//   roofline:  step = SO + decodes·DT + tokens of their contexts·CT + prefill tokens·PT
//
// What a GPU does: reading the weights takes SO whatever the batch, each decoding sequence adds its
// own part and the reading of its KV cache, and prefill computes at a constant speed beside them. So
// prefill slows down whoever decodes, and long contexts slow down everybody. No load factor and no
// draw: the batch is the load.

import { assert } from "../../../scheduler/support/assert.ts";
import type { Rng } from "../../../scheduler/support/rng.ts";

/** A mean and a standard deviation. */
export interface Latency {
  readonly meanMs: number;
  readonly stdDevMs: number;
}

export interface TimingConfig {
  readonly calculator: "constant" | "per-token" | "roofline";
  /** `constant` only. */
  readonly timeToFirstToken: Latency;
  readonly interTokenLatency: Latency;
  /** `per-token` and `roofline`. */
  readonly prefillMsPerToken: number;
  /** `per-token` only, as the one below. */
  readonly prefillOverheadMs: number;
  readonly prefillStdDevMs: number;
  /** How much slower everything is when `sequencesMax` run: at least 1. */
  readonly timeFactorUnderLoad: number;
  readonly sequencesMax: number;
  /** `roofline` only: needed by it. */
  readonly roofline?: RooflineTiming;
}

export interface RooflineTiming {
  /** Any step, however small. */
  readonly stepMs: number;
  readonly decodeMsPerSequence: number;
  /** For each token in the context of a sequence that decodes. */
  readonly decodeMsPerContextToken: number;
}

/** A part of a prompt that is computed in one step. */
export interface PrefillChunk {
  readonly tokens: number;
  /** Tokens of the whole prompt that were not in the cache. At least `tokens`. */
  readonly tokensOfPrompt: number;
  /** True when the step begins the prompt. */
  readonly isFirst: boolean;
}

/** What one step computes. */
export interface StepWork {
  readonly prefill: readonly PrefillChunk[];
  /** Sequences that decode one token. */
  readonly decodeCount: number;
  /** Tokens of their contexts, together. */
  readonly contextTokens: number;
  /** Sequences in the running set, whether or not they are part of this step. */
  readonly runningCount: number;
}

const DRAW_RATIO_MIN = 0.3;
const DRAW_RATIO_MAX = 1.7;

/** The load factor: 1 for a single sequence, `timeFactorUnderLoad` for `sequencesMax`. */
export function loadFactor(config: TimingConfig, runningCount: number): number {
  if (config.sequencesMax <= 1) return 1;
  return 1 + ((config.timeFactorUnderLoad - 1) * (runningCount - 1)) / (config.sequencesMax - 1);
}

/** A normally distributed duration in whole milliseconds, so a mean below one gives none. */
export function drawMs(latency: Latency, rng: Rng): number {
  const mean = Math.trunc(latency.meanMs);
  const stdDev = Math.trunc(latency.stdDevMs);
  if (stdDev === 0) return mean;
  const value = mean + stdDev * standardNormal(rng);
  return Math.trunc(Math.min(DRAW_RATIO_MAX * mean, Math.max(DRAW_RATIO_MIN * mean, value)));
}

/** A draw from the normal distribution of mean 0 and deviation 1 (Box-Muller). */
export function standardNormal(rng: Rng): number {
  return Math.sqrt(-2 * Math.log(1 - rng())) * Math.cos(2 * Math.PI * rng());
}

/** The duration of one step. */
export function stepMs(config: TimingConfig, work: StepWork, rng: Rng): number {
  if (config.calculator === "roofline") return rooflineMs(config, work);
  const factor = loadFactor(config, work.runningCount);
  const { meanMs, stdDevMs } = config.interTokenLatency;
  const decode = work.decodeCount === 0 ? 0 : drawMs({ meanMs: meanMs * factor, stdDevMs }, rng);
  if (work.prefill.length === 0) return decode;
  return Math.max(decode, drawMs(prefillLatency(config, work.prefill, factor), rng));
}

function rooflineMs({ roofline, prefillMsPerToken }: TimingConfig, work: StepWork): number {
  assert(roofline !== undefined, "the roofline calculator has its times");
  let prefillTokens = 0;
  for (const { tokens } of work.prefill) prefillTokens += tokens;
  return (
    roofline.stepMs +
    work.decodeCount * roofline.decodeMsPerSequence +
    work.contextTokens * roofline.decodeMsPerContextToken +
    prefillTokens * prefillMsPerToken
  );
}

function prefillLatency(
  config: TimingConfig,
  chunks: readonly PrefillChunk[],
  factor: number,
): Latency {
  if (config.calculator === "constant") {
    let share = 0;
    for (const chunk of chunks) share = Math.max(share, chunk.tokens / chunk.tokensOfPrompt);
    const { meanMs, stdDevMs } = config.timeToFirstToken;
    return { meanMs: meanMs * factor * share, stdDevMs: stdDevMs * share };
  }
  let tokens = 0;
  let isFirst = false;
  for (const chunk of chunks) {
    tokens += chunk.tokens;
    isFirst ||= chunk.isFirst;
  }
  const overheadMs = isFirst ? config.prefillOverheadMs : 0;
  return {
    meanMs: (overheadMs + tokens * config.prefillMsPerToken) * factor,
    stdDevMs: config.prefillStdDevMs,
  };
}
