// A pool that knows prefixes by their tokens: engines render each prompt before it is decided where it goes,
// and what decisions find in caches is what the engines then find there themselves.

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  type ExplainedAttempt,
  explanationSchema,
} from "../../src/scheduler/decisions/document.ts";
import { eventually, type Fairlead, startFairlead } from "./harness.ts";

/** Tokens of a key. */
const STEP = 64;
const ADAPTER = "tuned";
const SECRET = "that nobody else may read";
const BY_RENDER = { kind: "tokens", by: "render", timeoutMs: 5_000, adapters: [ADAPTER] };

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
  up = await startFairlead(
    "--engines",
    "2",
    "--kv-events",
    "--kv-keys",
    "tokens",
    "--engine-arg",
    `lora-modules=${ADAPTER}`,
  );
  await configure(BY_RENDER);
});
afterAll(() => up?.[Symbol.asyncDispose]());

function configure(prefixKeys: object): Promise<void> {
  return up.configurePool({ models: [up.model, ADAPTER], scheduler: PRECISE, prefixKeys });
}

/** Asks, and gives the last attempt as it was decided and ended. */
async function ask(
  messages: readonly object[],
  fields: Readonly<Record<string, unknown>> = {},
): Promise<ExplainedAttempt> {
  const response = await up.fetch("/v1/chat/completions", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: up.model, max_tokens: 1, messages, ...fields }),
  });
  expect(response.status).toBe(200);
  await response.arrayBuffer();
  const id = response.headers.get("x-fairlead-request-id")!;
  return eventually("the request's end is reported", async () => {
    const { attempts } = explanationSchema.parse(await up.admin(`/explain/${id}`));
    const last = attempts.at(-1);
    return last?.result == null ? undefined : last;
  });
}

/** What was believed to be cached where it went, and what was. */
function hit({ candidates, chosen, result }: ExplainedAttempt) {
  const blocks = candidates.find(({ address }) => address === chosen[0])!.matchedBlocks;
  return { believed: blocks * STEP, cached: result!.cachedTokens ?? 0 };
}

/** Blocks that endpoints are known to hold, once every one of them is known exactly. */
async function knownBlocks(): Promise<number | undefined> {
  const state = (await up.admin("/pools/local")) as {
    endpoints?: { knowledge?: string; knownBlocks?: number }[];
  };
  const endpoints = state.endpoints ?? [];
  const isExact = endpoints.length === 2 && endpoints.every((each) => each.knowledge === "exact");
  return isExact ? endpoints.reduce((sum, each) => sum + (each.knownBlocks ?? 0), 0) : undefined;
}

/** What an engine stored for a request is known. */
async function asked(...of: Parameters<typeof ask>): Promise<ExplainedAttempt> {
  const before = await eventually("every endpoint is known exactly", knownBlocks);
  const attempt = await ask(...of);
  await eventually("more is known", async () =>
    ((await knownBlocks()) ?? 0) > before ? true : undefined,
  );
  return attempt;
}

const turn = (i: number) => ({
  role: i % 2 === 0 ? "user" : "assistant",
  content: `Turn ${i} of a talk ${SECRET}, with words of its own. `.repeat(12),
});

describe.each([
  { name: "of the base model", fields: {} },
  { name: "of an adapter", fields: { model: ADAPTER } },
  { name: "with a salt of the client's", fields: { cache_salt: "mine" } },
])("a conversation $name", ({ fields }) => {
  it("is found where it is, within a key's tokens", async () => {
    const first = await asked([turn(0)], fields);
    expect(first.totalBlocks).toBe(Math.floor(first.promptTokens / STEP));
    expect(first.promptTokens).toBe(first.result!.promptTokens);
    for (let turns = 2; turns <= 4; turns++) {
      const messages = Array.from({ length: turns }, (_, i) => turn(i));
      const { believed, cached } = hit(await asked(messages, fields));
      expect(believed).toBeGreaterThan(100 * (turns - 1));
      expect(cached - believed).toBeGreaterThanOrEqual(0);
      expect(cached - believed).toBeLessThan(STEP);
    }
  });
});

it("knows a picture by what it shows", async () => {
  const image = (name: string) => [
    {
      role: "user",
      content: [
        { type: "text", text: "What is this? ".repeat(30) },
        { type: "image_url", image_url: { url: `https://x.test/${name}.png` } },
        { type: "text", text: `Say it ${SECRET}. `.repeat(20) },
      ],
    },
  ];
  await asked(image("cat"));
  const again = hit(await asked([...image("cat"), turn(1), turn(2)]));
  const other = hit(await asked(image("dog")));
  expect(again.cached - again.believed).toBeGreaterThanOrEqual(0);
  expect(again.cached - again.believed).toBeLessThan(STEP);
  expect(other.believed).toBeLessThan(again.believed);
  expect(other.cached - other.believed).toBeGreaterThanOrEqual(0);
});

it("counts what became of prompts, and logs nothing of them", async () => {
  const metrics = await fetch(`${up.url}/metrics`, {
    headers: { authorization: `Bearer ${up.adminKey}` },
  });
  const text = await metrics.text();
  const keyed = /^fairlead_token_keys_total\{by="render",outcome="keyed"\} (\d+)$/m.exec(text);
  expect(Number(keyed?.[1])).toBeGreaterThanOrEqual(15);
  const relay = await up.metricsOf("relay-local");
  expect(relay).toContain(`fairlead_relay_renders_total{outcome="rendered"} ${keyed![1]}`);
  expect(JSON.stringify(up.logs())).not.toContain(SECRET);
});

it("serves requests whose prompts nobody can tokenize, and says why", async () => {
  await configure({ kind: "tokens", by: "edge", tokenizer: "r2:nowhere/tokenizer.json" });
  const attempt = await eventually("the Worker goes by it", async () => {
    const last = await ask([turn(0)]);
    return last.totalBlocks === 0 ? last : undefined;
  });
  expect(attempt.result!.outcome).toBe("ok");
  await eventually("the log says why", () =>
    JSON.stringify(up.logs()).includes("there is no R2 binding MODEL_FILES") ? true : undefined,
  );
});
