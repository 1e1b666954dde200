// What engines hold reaches the pool's object, from real events through a real collector, and does so
// again after each part of the way was killed.

import { afterAll, beforeAll, expect, it } from "vitest";
import { eventually, startFairlead, TIME_SCALE, type Fairlead } from "./harness.ts";

interface EndpointState {
  readonly knowledge?: "exact" | "partial" | "none";
  readonly knownBlocks?: number;
}

/** Prefixes alone decide, as the engines' events tell them. */
const PRECISE = {
  plugins: [
    { type: "precise-prefix-cache-producer" },
    {
      type: "prefix-cache-scorer",
      parameters: { prefixMatchInfoProducerName: "precise-prefix-cache-producer" },
    },
    { type: "max-score-picker" },
  ],
  schedulingProfiles: [
    {
      name: "default",
      plugins: [{ pluginRef: "prefix-cache-scorer" }, { pluginRef: "max-score-picker" }],
    },
  ],
};

let up: Fairlead;
beforeAll(async () => {
  up = await startFairlead("--engines", "2", "--kv-events", "--time-scale", String(TIME_SCALE));
  await up.configurePool({ scheduler: PRECISE });
});
afterAll(() => up?.[Symbol.asyncDispose]());

/** Nobody while the object cannot be asked. */
async function endpoints(): Promise<readonly EndpointState[]> {
  const state = await up.admin("/pools/local").catch(() => undefined);
  return (state as { endpoints?: EndpointState[] } | undefined)?.endpoints ?? [];
}

/** Content blocks that endpoints are known to hold, once every one of them is known exactly. */
const exactBlocks = () =>
  eventually("every endpoint is known exactly", async () => {
    const states = await endpoints();
    const isExact = states.length === 2 && states.every(({ knowledge }) => knowledge === "exact");
    const blocks = states.reduce((sum, { knownBlocks }) => sum + (knownBlocks ?? 0), 0);
    return isExact && blocks > 0 ? blocks : undefined;
  });

/** Tokens that the engine found in its cache. */
async function ask(text: string): Promise<number> {
  const { usage } = await up.client.chat.completions.create({
    model: up.model,
    max_tokens: 1,
    messages: [{ role: "user", content: text.repeat(100) }],
  });
  return usage?.prompt_tokens_details?.cached_tokens ?? 0;
}

async function kill(part: string): Promise<void> {
  const old = up.pidsNow()[part]!;
  process.kill(old, "SIGKILL");
  await eventually(`${part} runs again`, () => {
    const pid = up.pidsNow()[part];
    return pid !== undefined && pid !== old ? pid : undefined;
  });
}

it("the object knows what engines hold, in content blocks", async () => {
  await ask("The moon goes up. ");
  // 1,800 characters in blocks of 256 bytes.
  expect(await exactBlocks()).toBeGreaterThanOrEqual(5);
});

it("sends a prompt to who holds it", async () => {
  for (let i = 0; i < 6; i++) expect(await ask("The moon goes up. ")).toBeGreaterThan(300);
});

it.for(["collector-local", "workerd"])("knows as much again after %s was killed", async (part) => {
  const before = await exactBlocks();
  await kill(part);
  const again = await eventually("as much is known as before", async () => {
    const blocks = await exactBlocks();
    return blocks >= before ? blocks : undefined;
  });
  expect(again).toBe(before);
});

it("does not know what engines held that were killed", async () => {
  const before = await exactBlocks();
  await kill("engines-local");
  const after = await eventually("another prompt is known", async () => {
    // Three times as long as the one before, or as many blocks would be known as of it.
    await ask("The tide goes out. ".repeat(3)).catch(() => undefined);
    const blocks = await exactBlocks();
    return blocks !== before ? blocks : undefined;
  });
  // One engine or both have read the new one; of the old one nothing is left.
  expect(await ask("The moon goes up. ")).toBeLessThan(50);
  expect(after).toBeGreaterThanOrEqual(5);
});
