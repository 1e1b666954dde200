import { describe, expect, it } from "vitest";
import { openaiParser } from "../../../src/worker/openai/openai-parser.ts";
import type { BodyTenant } from "../../../src/worker/parsers/parser.ts";

const PLAIN = { id: "plain", isolated: false } as const;
const SALTED = { id: "salted", salt: "a-salt-0123456789", isolated: false } as const;
const SEALED = { id: "sealed", salt: "b-salt-0123456789", isolated: true } as const;

/** A copy, because Node's types of TextEncoder allow shared memory and the Worker's do not. */
const encode = (text: string) => Uint8Array.from(new TextEncoder().encode(text));

const LONG = "All work and no play makes Jack a dull boy. ".repeat(40);

const CHAT = "/v1/chat/completions";

/** `model`: what the engine is to be asked for; the client's own name where it is not given. */
async function prepareText(path: string, text: string, tenant: BodyTenant, model?: string) {
  const parsed = openaiParser.parse({ path, bytes: encode(text), headers: new Headers() });
  if (!parsed.ok) throw new Error(parsed.error.message);
  const prepared = await parsed.value.prepare(model ?? parsed.value.model!, tenant);
  return { ...prepared, text: new TextDecoder().decode(prepared.body) };
}

async function prepare(
  fields: Readonly<Record<string, unknown>> | string,
  tenant: BodyTenant = PLAIN,
  model?: string,
) {
  const text =
    typeof fields === "string"
      ? fields
      : JSON.stringify({ model: "m", messages: [{ role: "user", content: LONG }], ...fields });
  return prepareText(CHAT, text, tenant, model);
}

const saltIn = (text: string) => (JSON.parse(text) as { cache_salt?: string }).cache_salt;

describe("what is forwarded", () => {
  it("is the client's bytes where nothing has to change", async () => {
    const text = `{"messages":[{"role":"user","content":"\\u00e4\u00e4"}] ,\t"model":"m","x":1.0e0}`;
    expect((await prepare(text)).text).toBe(text);
  });

  it("differs by the salt alone", async () => {
    const text = `{ "cache_salt" : "s" ,"model":"m","messages":[{"role":"user","content":"cache_salt"}]}`;
    const prepared = await prepare(text, SALTED);
    const salt = saltIn(prepared.text)!;
    expect(prepared.text).toBe(text.replace('"s"', `"${salt}"`));
  });

  it("has a salt inserted for an isolated tenant, also in place of null", async () => {
    const inserted = saltIn((await prepare({}, SEALED)).text);
    expect(inserted).toMatch(/^[0-9a-f]{64}$/);
    expect(saltIn((await prepare({ cache_salt: null }, SEALED)).text)).toBe(inserted);
  });
});

describe("another model for the engine", () => {
  it("stands in the place of the client's, and nothing else changes", async () => {
    const text = `{ "messages":[{"role":"user","content":"model"}] , "model" : "m" ,"x":1.0}`;
    const prepared = await prepare(text, PLAIN, 'org/"x"');
    expect(prepared.text).toBe(text.replace('"m"', '"org/\\"x\\""'));
    expect(prepared).toMatchObject({ model: 'org/"x"', clientModel: "m" });
  });

  it("is put in where the client names none, who is then told the engine's", async () => {
    const prepared = await prepare('{"messages":[{"role":"user","content":"Hi"}]}', PLAIN, "n");
    expect(prepared.text).toBe('{"model":"n","messages":[{"role":"user","content":"Hi"}]}');
    expect(prepared).not.toHaveProperty("clientModel");
  });

  it("leaves the bytes as they are where it is the client's", async () => {
    const text = '{"model":"\\u006d","messages":[{"role":"user","content":"Hi"}]}';
    const prepared = await prepare(text, PLAIN, "m");
    expect(prepared.text).toBe(text);
    expect(prepared).not.toHaveProperty("clientModel");
  });

  it.for([
    '{"model":"m","cache_salt":"s","messages":[{"role":"user","content":"Hi"}]}',
    '{"cache_salt":"s","messages":[{"role":"user","content":"Hi"}],"model":"m"}',
    '{"messages":[{"role":"user","content":"Hi"}]}',
  ])("goes together with a salt in %s", async (text) => {
    const sent = JSON.parse((await prepare(text, SEALED, "n")).text) as Record<string, unknown>;
    expect(sent).toMatchObject({ model: "n", messages: [{ role: "user", content: "Hi" }] });
    expect(sent["cache_salt"]).toMatch(/^[0-9a-f]{64}$/);
  });

  it("has content keys of its own: those of requests that name it", async () => {
    const renamed = await prepare({}, PLAIN, "n");
    expect(renamed.keys).not.toEqual((await prepare({})).keys);
    expect(renamed.keys).toEqual((await prepare({ model: "n" })).keys);
  });
});

describe("salts", () => {
  it("are never the client's own, and differ by tenant, tenant's salt and client's salt", async () => {
    const tenants = [PLAIN, SALTED, { ...SALTED, salt: "other-salt-0123456789" }, SEALED];
    const salts = new Set(["one", "two"]);
    for (const tenant of tenants) {
      for (const cache_salt of ["one", "two"]) {
        salts.add(saltIn((await prepare({ cache_salt }, tenant)).text)!);
      }
    }
    expect(salts.size).toBe(2 + tenants.length * 2);
  });

  it("enter the content keys", async () => {
    const { keys } = await prepare({});
    expect(keys.length).toBeGreaterThan(8);
    expect((await prepare({}, SALTED)).keys).toEqual(keys);
    expect((await prepare({ cache_salt: "s" })).keys).not.toEqual(keys);
    expect((await prepare({}, SEALED)).keys).not.toEqual(keys);
  });

  it("enter the hashes of media", async () => {
    const image = { type: "image_url", image_url: { url: "https://example.com/a.png" } };
    const messages = [{ role: "user", content: [image] }];
    const hashed = async (tenant: BodyTenant, fields = {}) =>
      (await prepare({ messages, ...fields }, tenant)).media!.hashes;
    const open = await hashed(PLAIN);
    expect(await hashed(SALTED)).toEqual(open);
    expect(await hashed(PLAIN, { cache_salt: "s" })).not.toEqual(open);
    const sealed = await hashed(SEALED);
    expect(sealed).not.toEqual(open);
    expect(await hashed(SEALED)).toEqual(sealed);
    expect(await hashed({ ...SEALED, id: "another" })).not.toEqual(sealed);
  });
});

describe("what the scheduler is told", () => {
  it("depends on the model", async () => {
    expect((await prepare({ model: "other" })).keys).not.toEqual((await prepare({})).keys);
  });

  it.for([
    { fields: {}, expected: null },
    { fields: { max_tokens: 10 }, expected: 10 },
    { fields: { max_tokens: 10, max_completion_tokens: 20 }, expected: 20 },
    { fields: { max_tokens: 10, n: 3 }, expected: 30 },
    { fields: { max_tokens: null, n: null }, expected: null },
  ])("expects $expected tokens at most for $fields", async ({ fields, expected }) => {
    expect((await prepare(fields)).outputTokensMax).toBe(expected);
  });

  it("counts all prompts of a completion and keys the first", async () => {
    const read = async (prompt: unknown) => {
      const text = JSON.stringify({ model: "m", prompt, max_tokens: 5 });
      return prepareText("/v1/completions", text, PLAIN);
    };
    const one = await read(LONG);
    const three = await read([LONG, "x", "y"]);
    expect(three.keys).toEqual(one.keys);
    expect(one).toMatchObject({ promptTokens: LONG.length / 4, outputTokensMax: 5 });
    expect(three).toMatchObject({ promptTokens: LONG.length / 4 + 1, outputTokensMax: 15 });
    expect(await read([1, 2, 3])).toMatchObject({ promptTokens: 3 });
  });
});
