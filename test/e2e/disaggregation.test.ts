// Prefill and decode apart, through the whole product: who computed what, what the client is told, and what
// is left behind when somebody goes.

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DISAGGREGATED_CONFIG } from "../../src/scheduler/config/disaggregated-config.ts";
import { eventually, startFairlead, type Fairlead } from "./harness.ts";

/** Prompts take this long for each token, at the tests' time scale: 100 µs in real time. */
const PREFILL_MS_PER_TOKEN = 2;
/** What the decider takes for a long prompt. */
const LONG_TOKENS = 512;

interface EngineState {
  readonly running: number;
  readonly waiting: number;
  readonly held: number;
  readonly blocksInUse: number;
  readonly aborted: number;
  readonly requests: readonly {
    readonly requestId: string;
    readonly leg?: "prefill" | "decode";
    readonly outcome: string;
    readonly cachedTokens: number;
  }[];
}

interface Engines {
  readonly prefill: readonly string[];
  readonly decode: readonly string[];
}

const startStack = (...flags: string[]) =>
  startFairlead(
    "--prefill=2",
    "--decode=2",
    "--engine-arg=mode=echo",
    `--engine-arg=prefill-time-per-token=${PREFILL_MS_PER_TOKEN}ms`,
    ...flags,
  );

/** Endpoints are listed prefillers first. */
function enginesOf(up: Fairlead): Engines {
  const all = up.engines();
  return { prefill: all.slice(0, 2), decode: all.slice(2) };
}

async function stateOf(origin: string): Promise<EngineState> {
  return (await (await fetch(`${origin}/sim/state`)).json()) as EngineState;
}

/** Engines that served `requestId`, as what. */
async function legsOf(up: Fairlead, requestId: string) {
  const legs: { stage: keyof Engines; leg: string | undefined; cachedTokens: number }[] = [];
  for (const [stage, origins] of Object.entries(enginesOf(up)) as [keyof Engines, string[]][]) {
    for (const { requests } of await Promise.all(origins.map(stateOf))) {
      for (const { requestId: id, leg, cachedTokens } of requests) {
        if (id === requestId) legs.push({ stage, leg, cachedTokens });
      }
    }
  }
  return legs;
}

/** As `legsOf` gives a request that was split. */
const BOTH = [
  { stage: "prefill", leg: "prefill" },
  { stage: "decode", leg: "decode" },
];

/** Words that no other prompt begins with, about a token each. */
function words(seed: string, count: number): string {
  return Array.from({ length: count }, (_, i) => `${seed}${i}`).join(" ");
}

function ask(up: Fairlead, content: string, fields: object = {}, init: RequestInit = {}) {
  const body = { model: up.model, messages: [{ role: "user", content }], max_tokens: 8, ...fields };
  return up.fetch("/v1/chat/completions", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
    ...init,
  });
}

/** Until nothing is left of any request on any engine. */
async function untilFree(up: Fairlead, isCounted: (state: EngineState) => number) {
  const { prefill, decode } = enginesOf(up);
  await eventually("every engine is free", async () => {
    // One that was killed comes back.
    const states = await Promise.allSettled([...prefill, ...decode].map(stateOf));
    const isFree = states.every(
      (state) => state.status === "fulfilled" && isCounted(state.value) === 0,
    );
    return isFree ? true : undefined;
  });
}
const inUse = ({ running, waiting, blocksInUse }: EngineState) => running + waiting + blocksInUse;

async function answered(response: Response) {
  const text = await response.text();
  if (!response.ok) throw new Error(`${response.status} ${text}`);
  const body = JSON.parse(text) as {
    choices: { message: { content: string } }[];
    usage: { prompt_tokens: number; prompt_tokens_details: { cached_tokens: number } };
  };
  return {
    requestId: response.headers.get("x-request-id")!,
    text: body.choices[0]!.message.content,
    promptTokens: body.usage.prompt_tokens,
    cachedTokens: body.usage.prompt_tokens_details.cached_tokens,
  };
}

/** llm-d's decider, which counts tokens: an idle pool splits, too. */
const BY_TOKENS = {
  ...DISAGGREGATED_CONFIG,
  plugins: DISAGGREGATED_CONFIG.plugins.map((plugin) => {
    const type = "prefix-based-pd-decider";
    if (plugin.type === "predicted-ttft-pd-decider") {
      return { type, parameters: { nonCachedTokens: LONG_TOKENS } };
    }
    if (plugin.type !== "disagg-profile-handler") return plugin;
    return { ...plugin, parameters: { deciders: { prefill: type } } };
  }),
};

describe("vLLM's engines", () => {
  let up: Fairlead;
  beforeAll(async () => {
    up = await startStack();
    await up.configurePool({ scheduler: BY_TOKENS });
  });
  afterAll(() => up?.[Symbol.asyncDispose]());

  it("share a long prompt, and not one that is short or known", async () => {
    const prompt = words("a", 2_000);
    const first = await answered(await ask(up, prompt));
    expect(prompt.startsWith(first.text)).toBe(true);
    // The prefiller's count: the decoder found everything.
    expect(first.cachedTokens).toBe(0);
    const legs = await legsOf(up, first.requestId);
    expect(legs).toEqual([
      { stage: "prefill", leg: "prefill", cachedTokens: 0 },
      { stage: "decode", leg: "decode", cachedTokens: first.promptTokens - 1 },
    ]);

    const again = await answered(await ask(up, `${prompt} and more`));
    expect(again.cachedTokens).toBeGreaterThan(first.promptTokens * 0.9);
    expect(await legsOf(up, again.requestId)).toMatchObject([{ stage: "decode" }]);

    const short = await answered(await ask(up, words("b", 100)));
    const [leg, ...others] = await legsOf(up, short.requestId);
    expect(leg).toMatchObject({ stage: "decode", cachedTokens: 0 });
    expect(leg!.leg).toBeUndefined();
    expect(others).toEqual([]);
    await untilFree(up, (state) => inUse(state) + state.held);
  });

  it("share it where the answer is a stream", async () => {
    const fields = { stream: true, stream_options: { include_usage: true } };
    const response = await ask(up, words("c", 2_000), fields);
    const text = await response.text();
    expect(text).toMatch(/data: \[DONE\]\n\n$/);
    expect(text).toContain('"cached_tokens":0');
    const legs = await legsOf(up, response.headers.get("x-request-id")!);
    expect(legs).toMatchObject(BOTH);
  });

  it("free everything when the client leaves while the prompt is computed", async () => {
    const client = new AbortController();
    const response = ask(up, words("d", 8_000), {}, { signal: client.signal });
    response.catch(() => {});
    const { prefill } = enginesOf(up);
    await eventually("a prefiller is at work", async () => {
      const states = await Promise.all(prefill.map(stateOf));
      return states.some(({ running }) => running === 1) ? true : undefined;
    });
    client.abort();
    await untilFree(up, (state) => inUse(state) + state.held);
    const states = await Promise.all(prefill.map(stateOf));
    expect(states.some(({ aborted }) => aborted > 0)).toBe(true);
  });

  it("serve on when the prefillers die", async () => {
    const response = ask(up, words("e", 8_000));
    const { prefill } = enginesOf(up);
    await eventually("a prefiller is at work", async () => {
      const states = await Promise.all(prefill.map(stateOf));
      return states.some(({ running }) => running === 1) ? true : undefined;
    });
    process.kill(up.pidsNow()["engines-local-prefill"]!, "SIGKILL");
    const answer = await answered(await response);
    expect(answer.text).toContain("e0 ");
    await untilFree(up, inUse);
  });
});

describe("SGLang's engines", () => {
  let up: Fairlead;
  beforeAll(async () => {
    up = await startStack("--kv-connector", "sglang");
  });
  afterAll(() => up?.[Symbol.asyncDispose]());

  it("meet for every prompt", async () => {
    const prompt = words("a", 300);
    const answer = await answered(await ask(up, prompt));
    expect(prompt.startsWith(answer.text)).toBe(true);
    const legs = await legsOf(up, answer.requestId);
    expect(legs).toMatchObject(BOTH);
    await untilFree(up, (state) => inUse(state) + state.held);
  });

  it("free everything when the client leaves while the prompt is computed", async () => {
    const client = new AbortController();
    const response = ask(up, words("b", 8_000), {}, { signal: client.signal });
    response.catch(() => {});
    const { prefill, decode } = enginesOf(up);
    await eventually("both are at work", async () => {
      const computing = await Promise.all(prefill.map(stateOf));
      const waiting = await Promise.all(decode.map(stateOf));
      const isBoth =
        computing.some((state) => state.running === 1) &&
        waiting.some((state) => state.waiting === 1);
      return isBoth ? true : undefined;
    });
    client.abort();
    await untilFree(up, (state) => inUse(state) + state.held);
    const states = await Promise.all([...prefill, ...decode].map(stateOf));
    // The prefiller may just have come to its end; who waits for it never does.
    expect(states.reduce((sum, { aborted }) => sum + aborted, 0)).toBeGreaterThan(0);
  });
});

describe("Mooncake's engines", () => {
  it("meet by a transfer's id", async () => {
    await using up = await startStack("--kv-connector", "mooncake");
    await up.configurePool({ scheduler: BY_TOKENS });
    const prompt = words("a", 2_000);
    const answer = await answered(await ask(up, prompt));
    expect(prompt.startsWith(answer.text)).toBe(true);
    const legs = await legsOf(up, answer.requestId);
    expect(legs).toMatchObject(BOTH);
  });
});
