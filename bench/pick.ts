// From content keys to endpoints: EndpointPicker with the default profile beside a naive picker.

import { CONTENT_BLOCK_TOKENS } from "../src/scheduler/kv/content-keys.ts";
import { createRng } from "../src/scheduler/support/rng.ts";
import { type Measurement, nanosecondsEach, sink, type Timing, TIMING } from "./measure.ts";
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
export async function* measurePick(
  endpoints: number,
  timing: Timing = TIMING,
): AsyncGenerator<Measurement> {
  const warm = createKeys(PROMPT_TOKENS, 1);
  const cold = createKeys(PROMPT_TOKENS, 2);
  const pool = new PoolInUse(endpoints);
  pool.warm(warm);
  for (const [metric, keys] of [
    ["us", warm],
    ["us_cold", cold],
  ] as const) {
    const ns = await nanosecondsEach(
      {
        recorded: () => void (sink.value += pool.pickRecorded(keys)),
        plain: () => void (sink.value += pool.pickSlot(keys)),
        naive: () => void (sink.value += pool.naive.pick(keys).length),
      },
      timing,
    );
    const figure = (name: string, value: number): Measurement => ({
      bench: `pick-${endpoints}`,
      metric: name,
      value: value / 1e3,
      unit: "us",
      ratio: value / ns.naive,
      against: AGAINST,
    });
    yield figure(metric, ns.recorded);
    yield figure(`${metric}_without_record`, ns.plain);
  }
}
