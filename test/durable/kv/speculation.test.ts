import { describe, expect, it } from "vitest";
import { Speculation, SPECULATION_LIMITS } from "../../../src/durable/kv/speculation.ts";
import { CONTENT_KEYS_MAX } from "../../../src/scheduler/kv/content-keys.ts";
import { contentKeys } from "../pool-client.ts";

const SLOTS = 8;

function matched(speculation: Speculation, keys: Uint32Array): number[] {
  const out = new Int32Array(SLOTS).fill(-1);
  speculation.match(keys, out);
  return [...out];
}

const only = (slot: number, blocks: number) =>
  Array.from({ length: SLOTS }, (_, i) => (i === slot ? blocks : 0));

describe("Speculation", () => {
  it("counts a prompt where it was sent, until its time is over", () => {
    const speculation = new Speculation();
    const keys = contentKeys(1);
    speculation.claim(keys, 3, 2_000);
    speculation.expire(1_999);
    expect(matched(speculation, keys)).toEqual(only(3, 20));
    speculation.expire(2_000);
    expect(matched(speculation, keys)).toEqual(only(3, 0));
    expect(speculation.size).toBe(0);
  });

  it("leaves to a later prompt what it shares with one that expires", () => {
    const speculation = new Speculation();
    const keys = contentKeys(1);
    speculation.claim(keys, 3, 2_000);
    speculation.claim(keys.slice(0, 20), 3, 2_500);
    speculation.expire(2_000);
    expect(matched(speculation, keys)).toEqual(only(3, 10));
    speculation.expire(2_500);
    expect(matched(speculation, keys)).toEqual(only(3, 0));
  });

  it("keeps as many claims as it is bounded to, the newest", () => {
    const speculation = new Speculation();
    for (let i = 0; i <= SPECULATION_LIMITS.claimsMax; i++) {
      speculation.claim(contentKeys(i, 1), 0, 2_000);
    }
    expect(speculation.size).toBe(SPECULATION_LIMITS.claimsMax);
    expect(matched(speculation, contentKeys(0, 1))[0]).toBe(0);
    expect(matched(speculation, contentKeys(1, 1))[0]).toBe(1);
  });

  it("keeps as many keys as it is bounded to", () => {
    const speculation = new Speculation();
    const claims = SPECULATION_LIMITS.keyBytesMax / (CONTENT_KEYS_MAX * 8);
    for (let i = 0; i <= claims; i++) {
      speculation.claim(contentKeys(i * 7, CONTENT_KEYS_MAX), 0, 2_000);
    }
    expect(speculation.size).toBe(claims);
  });

  it("forgets an endpoint, and what was sent elsewhere stays", () => {
    const speculation = new Speculation();
    const keys = contentKeys(1);
    speculation.claim(keys, 3, 2_000);
    speculation.claim(keys, 4, 2_000);
    speculation.endpointRemoved(3);
    expect(matched(speculation, keys)).toEqual(only(4, 20));
    speculation.expire(2_000);
    expect(matched(speculation, keys)).toEqual(only(4, 0));
  });
});
