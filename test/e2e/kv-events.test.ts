// What simulated engines publish reaches the collector, and still does when the engines' process was
// killed and started again.

import { afterAll, beforeAll, expect, it } from "vitest";
import { eventually, startFairlead, TIME_SCALE, type Fairlead } from "./harness.ts";

let up: Fairlead;
beforeAll(async () => {
  up = await startFairlead("--engines", "2", "--kv-events", "--time-scale", String(TIME_SCALE));
});
afterAll(() => up?.[Symbol.asyncDispose]());

/** Of one series of the collector, all endpoints together. */
async function collected(series: RegExp): Promise<number> {
  const lines = (await up.metricsOf("collector-local")).split("\n");
  return lines
    .filter((line) => series.test(line))
    .reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
}

const STORED = /^fairlead_kv_event_blocks_total\{.*event="stored".*\}/;

it("the relay learns what prompts became, and the collector knows it", async () => {
  await ask("The moon goes up. ");
  await eventually("content is known", async () => {
    const blocks = await collected(/^fairlead_kv_account_content_blocks /);
    return blocks >= 5 ? blocks : undefined;
  });
  const relay = await up.metricsOf("relay-local");
  expect(relay).toMatch(/fairlead_relay_learning_prompts_total\{outcome="learned"\} 1/);
});

async function ask(text: string): Promise<void> {
  await up.client.chat.completions.create({
    model: up.model,
    max_tokens: 1,
    messages: [{ role: "user", content: text.repeat(100) }],
  });
}

it("engines tell the collector what they have cached, before and after a restart", async () => {
  await ask("The tide comes in. ");
  // 500 words and punctuation in blocks of 16.
  const before = await eventually("blocks are told of", async () => {
    const blocks = await collected(STORED);
    return blocks >= 30 ? blocks : undefined;
  });
  const old = up.pidsNow()["engines-local"]!;
  process.kill(old, "SIGKILL");
  await eventually("the engines run again", () => {
    const pid = up.pidsNow()["engines-local"];
    return pid !== undefined && pid !== old ? pid : undefined;
  });
  await eventually("blocks are told of again", async () => {
    await ask("The tide goes out. ").catch(() => undefined);
    return (await collected(STORED)) >= before + 30 ? true : undefined;
  });
  // But for what a replay and the link have both told.
  expect(await collected(/^fairlead_kv_events_skipped_total\{(?!.*"duplicate")/)).toBe(0);
});
