// One pick of a TestPool, recorded.

import type {
  DecisionFacts,
  DecisionRecord,
  QueueFacts,
} from "../../../src/scheduler/decisions/record.ts";
import { DecisionRecorder } from "../../../src/scheduler/decisions/recorder.ts";
import { DecisionRing } from "../../../src/scheduler/decisions/ring.ts";
import type { PickInput } from "../../../src/scheduler/endpoint-picker.ts";
import { inferenceRequest } from "./pick-context.ts";
import { promptKeys, type TestPool } from "./pool.ts";

export const SEED = 5;
export const CONFIG_VERSION = 3;

export interface RecordedOptions extends Partial<PickInput> {
  readonly requestId?: string;
  readonly attempt?: number;
  readonly queue?: QueueFacts;
  readonly ring?: DecisionRing;
  readonly recorder?: DecisionRecorder;
}

/** Picks for `prompt` and returns the record; undefined for a pool without endpoints. */
export function recordPick(
  pool: TestPool,
  prompt: string,
  options: RecordedOptions = {},
): DecisionRecord | undefined {
  const { ring = new DecisionRing(), requestId = "request-1", attempt = 0 } = options;
  const recorder = options.recorder ?? new DecisionRecorder(ring);
  const request = inferenceRequest({ requestId, keys: promptKeys(prompt) });
  const seed = options.seed ?? SEED;
  const outcome = pool.pick(prompt, { request, ...options, seed, recorder });
  const facts: DecisionFacts = {
    attempt,
    configVersion: CONFIG_VERSION,
    scheduler: pool.config,
    seed,
    ...(options.queue === undefined ? {} : { queue: options.queue }),
    ...(options.exclude === undefined ? {} : { exclude: options.exclude }),
    ...(outcome.ok && outcome.kvSource !== undefined ? { kvSource: outcome.kvSource } : {}),
    ...(outcome.ok ? {} : { dropped: { reason: outcome.reason, detail: outcome.detail } }),
  };
  recorder.finish(pool.table, facts);
  return ring.find(request.requestId).find((record) => record.attempt === attempt);
}
