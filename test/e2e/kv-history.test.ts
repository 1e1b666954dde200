// A replay is history, not a snapshot: a collector that begins when engines no longer keep all of it knows
// less than they hold, says so, and claims nothing that they do not hold.

import { afterAll, beforeAll, expect, it } from "vitest";
import type { PoolState } from "../../src/durable/state.ts";
import { eventually, startFairlead, TIME_SCALE, type Fairlead } from "./harness.ts";

/** Batches that an engine keeps, about one a request. */
const KEPT = 4;
const REQUESTS = 12;
const ANY_PORT = "tcp://127.0.0.1:*";
const CONFIG = { endpoint: ANY_PORT, replay_endpoint: ANY_PORT, buffer_steps: KEPT };

let up: Fairlead;
beforeAll(async () => {
  const engines = ["--engines", "1", "--time-scale", String(TIME_SCALE)];
  const published = ["--kv-events", "--engine-arg", `kv-events-config=${JSON.stringify(CONFIG)}`];
  up = await startFairlead(...engines, ...published);
});
afterAll(() => up?.[Symbol.asyncDispose]());

/** Undefined while the object cannot be asked. */
async function endpoint() {
  const state = (await up.admin("/pools/local").catch(() => undefined)) as PoolState | undefined;
  return state?.endpoints?.[0];
}

async function ask(n: number): Promise<void> {
  await up.client.chat.completions.create({
    model: up.model,
    max_tokens: 1,
    messages: [{ role: "user", content: `Story ${n}. ${`It was night number ${n}. `.repeat(60)}` }],
  });
}

it("knows less than all, and says so, where history has gone", async () => {
  for (let n = 0; n < REQUESTS; n++) await ask(n);
  const before = await eventually("all of it is known", async () => {
    const { knowledge, knownBlocks = 0 } = (await endpoint()) ?? {};
    return knowledge === "exact" && knownBlocks >= REQUESTS * 4 ? knownBlocks : undefined;
  });
  const old = up.pidsNow()["collector-local"]!;
  process.kill(old, "SIGKILL");
  const after = await eventually("the collector is back, and tells what it can know", async () => {
    const pid = up.pidsNow()["collector-local"];
    if (pid === undefined || pid === old) return undefined;
    const { knowledge, knownBlocks = 0 } = (await endpoint()) ?? {};
    return knowledge === "partial" && knownBlocks > 0 && knownBlocks < before
      ? knownBlocks
      : undefined;
  });
  expect(after).toBeGreaterThanOrEqual(4);
  const metrics = await up.metricsOf("collector-local");
  expect(metrics).toMatch(/fairlead_kv_events_whole\{.*\} 0/);
  expect(metrics).toMatch(/fairlead_kv_events_uncertain_total\{.*reason="history-lost"\} 1/);
  // It stays so: what is missing is not replayed by asking again.
  for (let n = 0; n < 3; n++) await ask(REQUESTS + n);
  expect((await endpoint())?.knowledge).toBe("partial");
});
