import { evictDurableObject, reset, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, describe, expect, it } from "vitest";
import { DEFAULT_SETTINGS, SETTINGS_OBJECT_NAME } from "../../src/config/settings.ts";

afterEach(() => reset());

const stub = () => env.SETTINGS.getByName(SETTINGS_OBJECT_NAME);

describe("settings", () => {
  it("begin with the defaults", async () => {
    expect(await stub().get()).toEqual({
      acceptRequests: true,
      exposeEndpointHeader: true,
      requestLog: "errors",
    });
  });

  it("change one by one and survive an eviction", async () => {
    expect(await stub().update({ acceptRequests: false })).toEqual({
      ok: true,
      settings: { ...DEFAULT_SETTINGS, acceptRequests: false },
    });
    await stub().update({ requestLog: "off" });
    await evictDurableObject(stub());
    expect(await stub().get()).toEqual({
      acceptRequests: false,
      exposeEndpointHeader: true,
      requestLog: "off",
    });
  });

  it.for([
    ["an unknown switch", { acceptRequest: false }],
    ["a wrong type", { acceptRequests: "no" }],
    ["a wrong value", { requestLog: "everything" }],
  ] as const)("refuse %s by name and change nothing", async ([, patch]) => {
    const refused = await stub().update(patch as object);
    expect(refused).toMatchObject({ ok: false, message: expect.any(String) });
    expect(await stub().get()).toEqual(DEFAULT_SETTINGS);
  });

  it("count as never set when what is stored cannot be read", async () => {
    await runInDurableObject(stub(), (_, { storage }) =>
      storage.put("data", { settings: { requestLog: 7 } }),
    );
    await evictDurableObject(stub());
    expect(await stub().get()).toEqual(DEFAULT_SETTINGS);
  });
});

describe("what itty-durable would answer", () => {
  const names = ["destroy", "reset", "persist", "loadFromStorage", "toJSON", "settings", "state"];

  it.for(names)("%s cannot be called or read from outside", async (name) => {
    await stub().update({ acceptRequests: false });
    const remote = stub() as unknown as Record<string, () => Promise<unknown>>;
    await expect(async () => await remote[name]!()).rejects.toThrow("does not implement");
    expect((await stub().get()).acceptRequests).toBe(false);
  });

  it.for([
    "call/destroy",
    "call/reset",
    "call/persist",
    "call/update",
    "set/settings",
    "set/acceptRequests",
    "get-prop/settings",
    "get-prop/state",
    "call/nonsense",
  ])("/do/%s is refused and changes nothing", async (path) => {
    await stub().update({ acceptRequests: false });
    const response = await stub().fetch(`https://do/do/${path}`, {
      headers: { "do-content": '[{"acceptRequests":true}]' },
    });
    expect([response.status, await response.text()]).toEqual([404, "no such thing\n"]);
    await evictDurableObject(stub());
    expect(await stub().get()).toEqual({ ...DEFAULT_SETTINGS, acceptRequests: false });
  });
});
