// An engine that is killed and comes up again at its port has an empty cache, and nobody believes
// otherwise.

import { once } from "node:events";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { PoolState } from "../../src/durable/state.ts";
import type { Explanation } from "../../src/scheduler/decisions/document.ts";
import { eventually, startEngines, startFairlead, type Engines, type Fairlead } from "./harness.ts";

const PROMPT = "A long story that the engine has read before. ".repeat(100);

let engine: Engines;
let up: Fairlead;
beforeAll(async () => {
  engine = await startEngines(1);
  up = await startFairlead("--endpoint", engine.origins[0]!);
});
afterAll(async () => {
  await up?.[Symbol.asyncDispose]();
  engine?.child.kill("SIGKILL");
});

/** Blocks of the prompt that the object believed to be cached when it decided. */
async function askedBlocks(): Promise<number> {
  const { response } = await up.client.chat.completions
    .create({ model: up.model, max_tokens: 1, messages: [{ role: "user", content: PROMPT }] })
    .withResponse();
  const requestId = response.headers.get("x-fairlead-request-id")!;
  const { attempts } = (await up.admin(`/explain/${requestId}`)) as Explanation;
  return attempts[0]!.candidates[0]!.matchedBlocks;
}

function scraped(outcome: "ok" | "unreachable"): Promise<boolean> {
  return eventually(`a scrape is ${outcome}`, async () => {
    const { endpoints } = (await up.admin("/pools/local")) as PoolState;
    return endpoints[0]!.scrape === outcome || undefined;
  });
}

it("an engine that comes up again is believed to hold nothing", async () => {
  expect(await askedBlocks()).toBe(0);
  const cached = await askedBlocks();
  expect(cached).toBeGreaterThan(10);

  engine.child.kill("SIGKILL");
  await once(engine.child, "exit");
  await scraped("unreachable");
  engine = await startEngines(1, "--ports", new URL(engine.origins[0]!).port);
  await scraped("ok");

  expect(await askedBlocks()).toBe(0);
  expect(await askedBlocks()).toBe(cached);
});
