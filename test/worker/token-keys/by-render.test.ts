// A prompt's tokens, asked for through a relay on a real socket, which does what the body's `user` says.

import { describe, expect, inject, it } from "vitest";
import { DEPLOYMENT_LIMITS } from "../../../src/config/deployment.ts";
import { prefixKeysSchema, type TokenPrefixKeys } from "../../../src/config/prefix-keys.ts";
import { tokenBlockKeys } from "../../../src/scheduler/kv/residency/token-keys.ts";
import { METRIC } from "../../../src/telemetry/names.ts";
import { metrics } from "../../../src/worker/metrics.ts";
import { openaiParser } from "../../../src/worker/openai/openai-parser.ts";
import { RENDER_LIMITS } from "../../../src/worker/token-keys/by-render.ts";
import {
  FAILURES_MAX,
  RendererPauses,
  PAUSE_MS,
  UNSUPPORTED_MS,
} from "../../../src/worker/token-keys/renderer-pauses.ts";
import { keyByTokens } from "../../../src/worker/token-keys/token-keys.ts";
import { RELAY_KEY, RENDERED_TOKENS } from "../support/relay-key.ts";
import { seenAs } from "../support/deployment.ts";

const BLOCK = 16;
const TOKENS = Uint32Array.from({ length: RENDERED_TOKENS }, (_, i) => i * 3);
const TENANT = { id: "acme", salt: undefined, isolated: false };
let requests = 0;

const encode = (text: string) => new TextEncoder().encode(text) as Uint8Array<ArrayBuffer>;

/** A pool of its own for each, so that none is paused by another. */
async function key(
  fields: Readonly<Record<string, unknown>> = {},
  of: {
    readonly path?: string;
    readonly config?: object;
    readonly tenant?: object;
    readonly pool?: string;
    readonly url?: string;
    readonly signal?: AbortSignal;
  } = {},
) {
  const { path = "/v1/chat/completions", pool = `pool-${++requests}` } = of;
  const chat = { model: "m", messages: [{ role: "user", content: "Hi" }], ...fields };
  const bytes = encode(JSON.stringify(chat));
  const parsed = openaiParser.parse({ path, bytes, headers: new Headers() });
  if (!parsed.ok) throw new Error(parsed.error.message);
  const prepared = await parsed.value.prepare(chat.model, { ...TENANT, ...of.tenant } as never);
  const config = prefixKeysSchema.parse({
    kind: "tokens",
    by: "render",
    timeoutMs: 2_000,
    ...of.config,
  });
  const before = outcomes();
  const keyed = await keyByTokens(prepared, config as TokenPrefixKeys, {
    pool,
    relay: { url: of.url ?? inject("relayUrl"), keys: [RELAY_KEY] },
    tenant: "acme",
    requestId: pool,
    trace: { traceId: "1".repeat(32), spanId: "2".repeat(16), isSampled: false },
    bindings: {},
    signal: of.signal ?? new AbortController().signal,
    hold: () => undefined,
  });
  const outcome = [...outcomes()].find(([name, n]) => n !== before.get(name))?.[0];
  return { keyed, prepared, outcome, rendered: () => seenAs(`render-${pool}`) };
}

/** How often each outcome has been counted. */
function outcomes(): Map<string, string> {
  const { name } = METRIC.tokenKeysTotal;
  const lines = metrics.render().matchAll(new RegExp(`^${name}{.*outcome="(.*)"} (.*)$`, "gm"));
  return new Map([...lines].map(([, outcome, count]) => [outcome!, count!]));
}

/** Of every fourth block of 16. */
function everyFourth(prompt: Partial<Parameters<typeof tokenBlockKeys>[0]>): number[] {
  const keys = tokenBlockKeys({
    adapter: null,
    tokens: TOKENS,
    blockSize: BLOCK,
    extraKeys: [],
    ...prompt,
  });
  return [3, 7, 11].flatMap((block) => [keys[block * 2]!, keys[block * 2 + 1]!]);
}

describe("a prompt that is rendered", () => {
  it("has the keys of its tokens, one for 64, and as many tokens", async () => {
    const { keyed, prepared, outcome } = await key();
    expect(Array.from(keyed.keys)).toEqual(everyFourth({}));
    expect(keyed.promptTokens).toBe(RENDERED_TOKENS);
    expect(keyed).not.toHaveProperty("contentRoot");
    expect(keyed.body).toBe(prepared.body);
    expect(outcome).toBe("keyed");
  });

  it("is asked for with nothing but what is signed", async () => {
    const { rendered, prepared } = await key();
    const seen = (await rendered())!;
    expect(seen.destinations).toEqual(["*"]);
    expect(seen.body).toBe(new TextDecoder().decode(prepared.body));
    expect(seen.headers["x-fairlead-ticket"]).toMatch(/^render\./);
  });

  it("has the first prompt's of several", async () => {
    const path = "/v1/completions";
    const { keyed } = await key({ prompt: ["one", "two"] }, { path });
    expect(Array.from(keyed.keys)).toEqual(everyFourth({}));
  });

  it("has the adapter in its keys, which the renderer is not asked for", async () => {
    const config = { adapters: ["tuned"], modelName: "base" };
    const { keyed, rendered } = await key({ model: "tuned" }, { config });
    expect(Array.from(keyed.keys)).toEqual(everyFourth({ adapter: "tuned" }));
    expect(JSON.parse((await rendered())!.body)).toMatchObject({ model: "base" });
  });

  it("has the salt that the engine gets in its keys", async () => {
    const tenant = { isolated: true, salt: "a-salt-of-a-tenant" };
    const { keyed, prepared } = await key({}, { tenant });
    const { cache_salt: text } = JSON.parse(new TextDecoder().decode(prepared.body)) as {
      cache_salt: string;
    };
    expect(Array.from(keyed.keys)).toEqual(everyFourth({ extraKeys: [[{ kind: "text", text }]] }));
  });

  it("has media in the keys of all blocks that they reach into", async () => {
    const content = [{ type: "image_url", image_url: { url: "https://x.test/cat.png" } }];
    const { keyed, rendered } = await key({
      user: "render-media",
      messages: [{ role: "user", content }],
    });
    const image = (offset: number) => [{ kind: "media", identifier: "an-image", offset }] as const;
    const extraKeys = [[], image(4), image(-12), image(-28)];
    expect(Array.from(keyed.keys)).toEqual(everyFourth({ extraKeys }));
    expect(JSON.parse((await rendered())!.body)).toMatchObject({ return_mm_kwargs: false });
  });
});

describe("goes on without keys", () => {
  it.for([
    { user: "render-slow", outcome: "late" },
    { user: "render-reset", outcome: "failed" },
    { user: "render-junk", outcome: "failed" },
    { user: "render-never", outcome: "unsupported" },
    { user: "render-refused", outcome: "refused" },
    { user: "render-large", outcome: "too-long" },
  ])("where the relay plays $user", async ({ user, outcome }) => {
    const config = user === "render-slow" ? { timeoutMs: 30 } : {};
    const got = await key({ user }, { config });
    expect(got.keyed.keys).toHaveLength(0);
    expect(got.keyed).not.toHaveProperty("contentRoot");
    expect(got.keyed.promptTokens).toBe(got.prepared.promptTokens);
    expect(got.outcome).toBe(outcome);
  });

  it("where no relay answers", async () => {
    expect((await key({}, { url: inject("deadUrl") })).outcome).toBe("failed");
  });

  it("where the body is past its bound, and asks nobody", async () => {
    const metadata = "x".repeat(RENDER_LIMITS.bodyBytesMax);
    const { outcome, rendered } = await key({ metadata });
    expect(outcome).toBe("too-long");
    expect(await rendered()).toBeNull();
  });

  it("where the client has left", async () => {
    const { outcome } = await key({ user: "render-slow" }, { signal: AbortSignal.timeout(20) });
    expect(outcome).toBe("cancelled");
  });

  it("and without asking, where that has failed several times", async () => {
    const pool = "pool-in-trouble";
    for (let i = 0; i < FAILURES_MAX; i++) await key({ user: "render-junk" }, { pool });
    expect((await key({}, { pool })).outcome).toBe("paused");
  });

  it.for(["render-refused", "render-large"])(
    "for itself alone, however often %s is asked for",
    async (user) => {
      const pool = `pool-of-${user}`;
      for (let i = 0; i < FAILURES_MAX; i++) await key({ user }, { pool });
      expect((await key({}, { pool })).outcome).toBe("keyed");
    },
  );
});

it.for([{ prompt: Array.from(TOKENS) }, { prompt: [Array.from(TOKENS), [1, 2, 3]] }])(
  "asks nobody for what is token ids already",
  async ({ prompt }) => {
    const { keyed, rendered } = await key({ prompt }, { path: "/v1/completions" });
    expect(Array.from(keyed.keys)).toEqual(everyFourth({}));
    expect(await rendered()).toBeNull();
  },
);

describe("a renderer", () => {
  it("is asked again after its pause", () => {
    const pauses = new RendererPauses();
    for (let i = 0; i < FAILURES_MAX - 1; i++) pauses.failed("a", 0);
    expect(pauses.isPaused("a", 0)).toBe(false);
    pauses.failed("a", 0);
    pauses.unsupported("b", 0);
    expect(pauses.isPaused("a", PAUSE_MS - 1)).toBe(true);
    expect(pauses.isPaused("a", PAUSE_MS)).toBe(false);
    expect(pauses.isPaused("b", UNSUPPORTED_MS - 1)).toBe(true);
    expect(pauses.isPaused("b", UNSUPPORTED_MS)).toBe(false);
  });

  it("that answers between has not failed in a row", () => {
    const pauses = new RendererPauses();
    for (let i = 0; i < 3 * FAILURES_MAX; i++) {
      pauses.failed("a", 0);
      pauses.answered("a");
    }
    expect(pauses.isPaused("a", 0)).toBe(false);
  });

  it("is remembered for so many pools", () => {
    const pauses = new RendererPauses();
    pauses.unsupported("first", 0);
    for (let i = 0; i < DEPLOYMENT_LIMITS.poolsMax; i++) pauses.failed(`pool-${i}`, 0);
    expect(pauses.isPaused("first", 0)).toBe(false);
  });
});
