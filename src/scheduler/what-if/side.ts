// One configuration's choice for one decision, and what is predicted of it.

import { predictTtftMs, type TtftColumns } from "../model/predict-ttft.ts";
import { CONTENT_BLOCK_TOKENS } from "../kv/content-keys.ts";
import type { ReplayableAttempt } from "../decisions/replay-document.ts";

/** What of an attempt says who was chosen. */
export interface Choice {
  readonly chosen: readonly string[];
  readonly dropped: unknown;
  /** Other profiles that ran. */
  readonly stages?: readonly Stage[] | undefined;
}
interface Stage {
  readonly role: string;
  readonly chosen: readonly string[];
}

/** A choice with its predictions. */
export interface Side {
  /** Where the request goes. */
  readonly address: string;
  /** Where its prompt is computed: another endpoint where a prefill stage ran. */
  readonly computedAt: string;
  readonly hitTokens: number;
  readonly ttftMs: number;
}

/** Who computes the prompt of `choice`; undefined where the request is refused. */
export function sideOf(attempt: ReplayableAttempt, choice: Choice): Side | undefined {
  const [address] = choice.chosen;
  if (choice.dropped !== null || address === undefined) return undefined;
  const prefill = choice.stages?.find(({ role }) => role === "prefill");
  const computedAt = prefill?.chosen[0] ?? address;
  const candidate = attempt.candidates.find((one) => one.address === computedAt);
  if (candidate === undefined) return undefined;
  const { promptTokens, atMs } = attempt;
  const hitTokens = Math.min(promptTokens, candidate.matchedBlocks * CONTENT_BLOCK_TOKENS);
  const columns = oneRow(candidate.columns);
  const ttftMs = predictTtftMs(columns, 0, {
    nowMs: atMs,
    uncachedTokens: promptTokens - hitTokens,
  });
  return { address, computedAt, hitTokens, ttftMs };
}

function oneRow(columns: Readonly<Record<keyof TtftColumns, number>>): TtftColumns {
  return {
    queueDepth: Int32Array.of(columns.queueDepth),
    kvUsage: Float64Array.of(columns.kvUsage),
    kvCapacityTokens: Float64Array.of(columns.kvCapacityTokens),
    requestTokens: Float64Array.of(columns.requestTokens),
    prefillBusyUntilMs: Float64Array.of(columns.prefillBusyUntilMs),
    prefillMsPerToken: Float64Array.of(columns.prefillMsPerToken),
    serviceMs: Float64Array.of(columns.serviceMs),
    sampledAtMs: Float64Array.of(columns.sampledAtMs),
  };
}
