import { createHmac, createSecretKey, randomBytes } from "node:crypto";
import { expect, it } from "vitest";
import { hmacSha256 } from "../../../src/agents/relay/hmac.ts";

it.each([1, 16, 32, 63, 64, 65, 200])("is HMAC-SHA-256 under a key of %i bytes", (bytes) => {
  const key = createSecretKey(randomBytes(bytes));
  for (const text of ["", "a", "ü\n", "x".repeat(10_000), ""]) {
    expect(hmacSha256(key, text)).toEqual(createHmac("sha256", key).update(text).digest());
  }
});

it("keeps keys apart", () => {
  const [one, two] = [createSecretKey(randomBytes(32)), createSecretKey(randomBytes(32))];
  const first = hmacSha256(one, "text");
  expect(hmacSha256(two, "text")).not.toEqual(first);
  expect(hmacSha256(one, "text")).toEqual(first);
});
