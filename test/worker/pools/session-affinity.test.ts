import { describe, expect, it } from "vitest";
import { openaiParser } from "../../../src/worker/openai/openai-parser.ts";
import {
  type AffinityHints,
  readSessionAffinity,
  SESSION_HEADERS,
  SESSION_VALUE_CHARS_MAX,
} from "../../../src/worker/pools/session-affinity.ts";

const TENANT = { id: "acme", isolated: false } as const;
const NONE = { keys: new Uint32Array(), markedBlocks: 0 };

function read(hints: Partial<AffinityHints> & { readonly sent?: Record<string, string> } = {}) {
  const { sent = {}, ...rest } = hints;
  const headers = new Headers(sent);
  return readSessionAffinity({
    tenant: TENANT.id,
    headers,
    promptCacheKey: undefined,
    prepared: NONE,
    ...rest,
  });
}

/** A body as the parser reads it. */
async function parsed(body: unknown, headers: Record<string, string> = {}) {
  const bytes = Uint8Array.from(new TextEncoder().encode(JSON.stringify(body)));
  const input = { path: "/v1/chat/completions", bytes, headers: new Headers(headers) };
  const result = openaiParser.parse(input);
  if (!result.ok) throw new Error(result.error.message);
  const prepared = await result.value.prepare("m", TENANT);
  return { promptCacheKey: result.value.promptCacheKey, prepared };
}

describe("what a client says belongs together", () => {
  it.for([...SESSION_HEADERS])("is said by %s", (name) => {
    const first = read({ sent: { [name]: "s-1" } });
    expect(first?.source).toBe("header");
    expect(read({ sent: { [name]: "s-1" } })).toEqual(first);
    expect(read({ sent: { [name]: "s-2" } })).not.toEqual(first);
  });

  it("is another tenant's own", () => {
    const sent = { "x-session-id": "s-1" };
    expect(read({ sent, tenant: "other" })).not.toEqual(read({ sent }));
    expect(read({ promptCacheKey: "k", tenant: "other" })).not.toEqual(
      read({ promptCacheKey: "k" }),
    );
  });

  it("goes by the key before the headers, and by those before the marks", () => {
    const prepared = { keys: Uint32Array.of(1, 2), markedBlocks: 1 };
    const sent = { "x-session-id": "s-1" };
    expect(read({ sent, prepared, promptCacheKey: "k" })?.source).toBe("prompt_cache_key");
    expect(read({ sent, prepared })?.source).toBe("header");
    expect(read({ prepared })).toEqual({ source: "cache_control", low: 1, high: 2 });
    expect(read()).toBeUndefined();
  });

  it("is not read of what is empty or too long", () => {
    const longest = "k".repeat(SESSION_VALUE_CHARS_MAX);
    expect(read({ promptCacheKey: longest })).toBeDefined();
    expect(read({ promptCacheKey: `${longest}k` })).toBeUndefined();
    expect(read({ promptCacheKey: "", sent: { "x-session-id": "" } })).toBeUndefined();
    expect(read({ promptCacheKey: "", sent: { "x-session-id": "s" } })?.source).toBe("header");
  });
});

describe("the body's hints", () => {
  const long = (text: string) => text.repeat(200);
  const marked = (text: string) => ({
    type: "text",
    text,
    cache_control: { type: "ephemeral" },
  });
  const turns = (...contents: unknown[]) => ({
    model: "m",
    messages: contents.map((content, i) => ({ role: i === 0 ? "system" : "user", content })),
  });

  it("are prompt_cache_key, if it is a string", async () => {
    expect((await parsed({ ...turns("a"), prompt_cache_key: "k" })).promptCacheKey).toBe("k");
    expect((await parsed({ ...turns("a"), prompt_cache_key: 7 })).promptCacheKey).toBeUndefined();
    expect((await parsed(turns("a"))).promptCacheKey).toBeUndefined();
  });

  it("are the prefix up to the first mark, whatever comes behind it", async () => {
    const one = await parsed(turns([marked(long("system"))], "first question"));
    const two = await parsed(turns([marked(long("system"))], [marked(long("another"))], "more"));
    const other = await parsed(turns([marked(long("System"))], "first question"));
    const affinity = read(one);
    expect(affinity?.source).toBe("cache_control");
    expect(read(two)).toEqual(affinity);
    expect(read(other)).not.toEqual(affinity);
    expect(one.prepared.markedBlocks).toBe(Math.floor((long("system").length + 20) / 256));
  });

  it("may stand at a tool", async () => {
    const tool = { type: "function", function: { name: long("f") }, cache_control: {} };
    const one = await parsed({ ...turns("s", "q"), tools: [tool] });
    const two = await parsed({ ...turns("s", long("another q")), tools: [tool] });
    expect(read(one)?.source).toBe("cache_control");
    expect(read(two)).toEqual(read(one));
  });

  it("are none where nothing is marked, or less than a block", async () => {
    expect(read(await parsed(turns(long("system"), "q")))).toBeUndefined();
    expect(read(await parsed(turns([marked("short")], "q")))).toBeUndefined();
    expect(read(await parsed(turns([{ ...marked(long("s")), cache_control: null }])))).toBe(
      undefined,
    );
  });
});
