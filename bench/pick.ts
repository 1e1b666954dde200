// From content keys to endpoints: EndpointPicker with the default profile beside a naive picker.

import { CONTENT_BLOCK_TOKENS } from "../src/scheduler/kv/content-keys.ts";
import { createRng } from "../src/scheduler/support/rng.ts";
import { type Measurement, nanosecondsPerCall, sink, type Timing, TIMING } from "./measure.ts";
import { PoolInUse } from "./pool-in-use.ts";

const AGAINST = "objects and a sort";
const PROMPT_TOKENS = 10_000;

/** Keys of a prompt nobody has sent. */
export function createKeys(tokens: number, seed: number): Uint32Array {
  const rng = createRng(seed);
  const words = 2 * Math.floor(tokens / CONTENT_BLOCK_TOKENS);
  return Uint32Array.from({ length: words }, () => rng() * 2 ** 32);
}

/**
 * `us` is what the pool does for every request: a prompt that some endpoints hold in part, and the
 * record of the decision. The naive picker keeps no record.
 */
export function* measurePick(endpoints: number, timing: Timing = TIMING): Generator<Measurement> {
  const bench = `pick-${endpoints}`;
  const warm = createKeys(PROMPT_TOKENS, 1);
  const cold = createKeys(PROMPT_TOKENS, 2);
  const pool = new PoolInUse(endpoints);
  pool.warm(warm);
  const us = (body: () => number): number => {
    const ns = nanosecondsPerCall(() => {
      sink.value += body();
    }, timing);
    return ns / 1e3;
  };
  for (const [suffix, keys] of [
    ["", warm],
    ["_cold", cold],
  ] as const) {
    const naive = us(() => pool.naive.pick(keys).length);
    const figure = (metric: string, value: number): Measurement => ({
      bench,
      metric,
      value,
      unit: "us",
      ratio: value / naive,
      against: AGAINST,
    });
    yield figure(
      `us${suffix}`,
      us(() => pool.pickRecorded(keys)),
    );
    yield figure(
      `us${suffix}_without_record`,
      us(() => pool.pickSlot(keys)),
    );
  }
}
