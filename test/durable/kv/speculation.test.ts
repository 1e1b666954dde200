import { describe, expect, it } from "vitest";
import {
  Speculation,
  SPECULATION_LIMITS,
  type ToldBlocks,
} from "../../../src/durable/kv/speculation.ts";
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

  it("remembers few of those that ended before an older one", () => {
    const speculation = new Speculation();
    speculation.claim(contentKeys(0, 1), 0, 60_000);
    for (let i = 1; i < 1_000; i++) {
      speculation.claim(contentKeys(i, 1), 1, 60_000);
      speculation.withdraw(contentKeys(i, 1), 1);
    }
    expect(speculation.size).toBe(1);
    expect(speculation.kept).toBeLessThan(100);
    speculation.expire(60_000);
    expect(speculation.size).toBe(0);
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

  describe("goes by what is told of the endpoint", () => {
    const keys = contentKeys(1);
    const other = contentKeys(2);
    const { toldAfterMs, lookedAtMax } = SPECULATION_LIMITS;

    it("ends with the events that confirm all of it, and not with those that confirm a part", () => {
      const speculation = new Speculation();
      speculation.claim(keys, 3, 2_000);
      speculation.claim(other, 3, 2_000);
      const at = { nowMs: 10, isWhole: true };
      speculation.told(3, holding(3, keys.subarray(0, 38)), at);
      // The path's end without its beginning, as frames may come.
      speculation.told(3, holding(3, keys.subarray(2)), at);
      speculation.told(4, holding(4, keys), at);
      expect(matched(speculation, keys)).toEqual(only(3, 20));
      speculation.told(3, holding(3, keys), at);
      expect(matched(speculation, keys)).toEqual(only(3, 0));
      expect(matched(speculation, other)).toEqual(only(3, 20));
      speculation.expire(2_000);
      expect(speculation.ends).toEqual({
        confirmed: 1,
        contradicted: 0,
        withdrawn: 0,
        expired: 1,
      });
    });

    const contradiction = (
      change: Partial<{ afterMs: number; isWhole: boolean; known: number }>,
    ) => {
      const { afterMs = toldAfterMs, isWhole = true, known = 20 } = change;
      const speculation = new Speculation();
      speculation.claim(keys, 3, 2_000);
      speculation.read(keys, 3, { nowMs: 100, ttlMs: 2_000 });
      expect(speculation.size).toBe(1);
      const blocks = holding(3, keys.subarray(0, 10), keys.subarray(0, known * 2));
      speculation.told(3, blocks, { nowMs: 100 + afterMs, isWhole });
      return speculation;
    };

    it("ends when the prompt was read, and what the endpoint lacks of it is known", () => {
      const speculation = contradiction({});
      expect(matched(speculation, keys)).toEqual(only(3, 0));
      expect(speculation.ends.contradicted).toBe(1);
    });

    it.for([
      { name: "too early", change: { afterMs: toldAfterMs - 1 } },
      { name: "something may be missing", change: { isWhole: false } },
      { name: "what it became is not known yet", change: { known: 5 } },
    ])("stands where $name", ({ change }) => {
      const speculation = contradiction(change);
      expect(matched(speculation, keys)).toEqual(only(3, 20));
      speculation.expire(2_099);
      expect(speculation.size).toBe(1);
      speculation.expire(2_100);
      expect(speculation.size).toBe(0);
    });

    it("is not contradicted while nobody says that the prompt was read", () => {
      const speculation = new Speculation();
      speculation.claim(keys, 3, 2_000);
      speculation.told(3, holding(3, new Uint32Array(0), keys), { nowMs: 1_999, isWhole: true });
      expect(matched(speculation, keys)).toEqual(only(3, 20));
    });

    it("ends one claim of a prompt that was not sent", () => {
      const speculation = new Speculation();
      speculation.claim(keys, 3, 2_000);
      speculation.claim(keys, 3, 2_000);
      speculation.withdraw(other, 3);
      speculation.withdraw(keys, 4);
      speculation.withdraw(keys, 3);
      expect(matched(speculation, keys)).toEqual(only(3, 20));
      speculation.withdraw(keys, 3);
      expect(matched(speculation, keys)).toEqual(only(3, 0));
      speculation.withdraw(keys, 3);
      expect(speculation.ends.withdrawn).toBe(2);
    });

    it("looks at so many claims at a time, and comes by each in its turn", () => {
      const speculation = new Speculation();
      for (let i = 0; i <= lookedAtMax; i++) speculation.claim(contentKeys(10 + i), 3, 2_000);
      const last = contentKeys(10 + lookedAtMax);
      const at = { nowMs: 10, isWhole: true };
      speculation.told(3, holding(3, last), at);
      expect(speculation.ends.confirmed).toBe(0);
      speculation.told(3, holding(3, last), at);
      expect(speculation.ends.confirmed).toBe(1);
    });
  });
});

/** An endpoint holds these keys, and others those that are known besides. */
function holding(slot: number, held: Uint32Array, known = held): ToldBlocks {
  const names = (keys: Uint32Array) =>
    Array.from({ length: keys.length / 2 }, (_, i) => `${keys[i * 2]}:${keys[i * 2 + 1]}`);
  const here = new Set(names(held));
  const anywhere = new Set([...here, ...names(known)]);
  return {
    heldOf(of, keys) {
      const gap = names(keys).findIndex((name) => !here.has(name));
      if (of !== slot) return 0;
      return gap < 0 ? keys.length / 2 : gap;
    },
    holdsEnd: (of, keys) => of === slot && here.has(names(keys).at(-1)!),
    isKnown: (low, high) => anywhere.has(`${low}:${high}`),
  };
}
