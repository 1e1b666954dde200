// What an isolate remembers of API keys: never who may do what, and not what nobody's key was.

import { describe, expect, it } from "vitest";
import { KNOWN_KEYS_MAX, resolveTenant } from "../../src/worker/auth.ts";
import { sha256Hex } from "../../src/worker/crypto.ts";
import type { DirectoryIndex } from "../../src/worker/directory-index.ts";

const TENANT = { id: "acme" };

function request(key: string): Request {
  return new Request("https://edge.example", { headers: { authorization: `Bearer ${key}` } });
}

/** A directory in which `keys` are one tenant's. */
async function directoryOf(...keys: string[]): Promise<DirectoryIndex> {
  const hashes = new Set(
    await Promise.all(keys.map(async (key) => `sha256:${await sha256Hex(key)}`)),
  );
  const tenantOf = (hash: string) => (hashes.has(hash) ? TENANT : undefined);
  return { tenantOf } as unknown as DirectoryIndex;
}

describe("a tenant's key", () => {
  it("is the directory's to judge, however often it was right", async () => {
    const key = "key-of-acme-1234567890";
    const known = await directoryOf(key);
    for (let i = 0; i < 3; i++)
      expect(await resolveTenant(request(key), known)).toEqual({ ok: true, value: TENANT });
    const revoked = await directoryOf();
    expect(await resolveTenant(request(key), revoked)).toMatchObject({ ok: false });
    expect(await resolveTenant(request(key), known)).toMatchObject({ ok: true });
  });

  it("is found among more than are remembered", async () => {
    const keys = Array.from({ length: KNOWN_KEYS_MAX + 2 }, (_, i) => `key-of-acme-number-${i}`);
    const directory = await directoryOf(...keys);
    for (const key of [...keys, keys[0]!])
      expect(await resolveTenant(request(key), directory)).toMatchObject({ ok: true });
    const wrong = await resolveTenant(request("key-of-nobody-1234567890"), directory);
    expect(wrong).toMatchObject({ ok: false, error: { code: "invalid_api_key" } });
  });
});
