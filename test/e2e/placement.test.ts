// Where requests go: engines small enough to be filled by a few long requests.

import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { PoolState } from "../../src/durable/state.ts";
import { eventually, startFairlead, type Fairlead } from "./harness.ts";

const ENGINE = ["max-model-len=4096", "kv-cache-size=512", "max-num-seqs=6"];

let up: Fairlead;
beforeAll(async () => {
  up = await startFairlead(...ENGINE.flatMap((arg) => ["--engine-arg", arg]));
});
afterAll(() => up?.[Symbol.asyncDispose]());

const fillers = new Set<AbortController>();
afterEach(() => {
  for (const filler of fillers) filler.abort();
  fillers.clear();
});

/** About 500 tokens that begin like no other text. */
const passage = (name: string) => Array.from({ length: 500 }, (_, i) => `${name}${i} `).join("");

async function ask(prompt: string) {
  const { data, response } = await up.client.completions
    .create({ model: up.model, prompt, max_tokens: 4 })
    .withResponse();
  return {
    endpoint: response.headers.get("x-fairlead-endpoint")!,
    cachedTokens: data.usage!.prompt_tokens_details?.cached_tokens ?? 0,
    requestId: response.headers.get("x-fairlead-request-id")!,
  };
}

/** Fills an engine behind the router's back: some requests run, the others wait. */
function fill(endpoint: string): void {
  for (let i = 0; i < 12; i++) {
    const filler = new AbortController();
    fillers.add(filler);
    void fetch(`http://${endpoint}/v1/completions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({
        model: up.model,
        prompt: passage(`filler${i}x`),
        max_tokens: 2_500,
        ignore_eos: true,
      }),
      signal: filler.signal,
    }).catch(() => {
      // Aborted when the test has ended.
    });
  }
}

describe("placement", () => {
  it("sends requests that share a long prefix to the engine that holds it", async () => {
    const prefix = passage("shared");
    const first = await ask(`${prefix} What is the first word?`);
    expect(first.cachedTokens).toBe(0);
    for (const question of ["And the second?", "And the last one?"]) {
      const next = await ask(`${prefix} ${question}`);
      expect(next.endpoint).toBe(first.endpoint);
      expect(next.cachedTokens).toBeGreaterThan(400);
    }
  });

  it("spreads requests that nobody has seen before", async () => {
    const seen = new Map<string, number>();
    for (let i = 0; i < 9; i++) {
      const { endpoint } = await ask(passage(`cold${i}-`));
      seen.set(endpoint, (seen.get(endpoint) ?? 0) + 1);
    }
    expect([...seen.keys()].toSorted()).toEqual(
      up
        .engines()
        .map((origin) => origin.slice("http://".length))
        .toSorted(),
    );
    expect(Math.max(...seen.values())).toBeLessThanOrEqual(5);
  });

  it("avoids an engine with a deep queue in spite of its cache", async () => {
    const prefix = passage("popular");
    const { endpoint } = await ask(`${prefix} one`);
    fill(endpoint);
    await eventually("the router sees the queue", async () => {
      const pool = (await up.admin("/pools/local")) as PoolState;
      const seen = pool.endpoints.find((each) => each.address === endpoint)!;
      return seen.queueDepth >= 4 && seen.kvUsage > 0.6 ? true : undefined;
    });
    const next = await ask(`${prefix} two`);
    expect(next.endpoint).not.toBe(endpoint);
  });
});
