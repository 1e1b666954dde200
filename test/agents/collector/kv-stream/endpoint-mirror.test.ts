// EndpointMirror against a Map: whatever changes, what was said in the end is what is held.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  EndpointMirror,
  MIRROR_LIMITS,
} from "../../../../src/agents/collector/kv-stream/endpoint-mirror.ts";
import { SectionBuffer } from "../../../../src/agents/collector/kv-stream/section-buffer.ts";
import {
  HELD_BELOW,
  HELD_ON_GPU,
  type Holding,
  NOT_HELD,
} from "../../../../src/scheduler/kv/residency/holding.ts";

const buffer = new SectionBuffer();
/** Keys spread as hashes do. */
const highOf = (key: number) => Math.imul(key, 0x9e37_79b1) >>> 0;

/** What the object would know, from what a mirror says. */
class Listener {
  readonly held = new Map<number, Holding>();
  isWhole = false;
  saidKeys = 0;

  /** Takes up to `keysMax` keys; false where nothing was said. */
  take(mirror: EndpointMirror, keysMax = 2_048): boolean {
    buffer.clear(keysMax);
    const flags = mirror.take(buffer);
    if (flags === undefined) return false;
    if (flags.begins) {
      this.held.clear();
      this.isWhole = false;
    }
    const { keys, onGpuCount, belowCount } = buffer.keys();
    const seen = new Set<number>();
    for (let i = 0; i < keys.length / 2; i++) {
      const key = keys[i * 2]!;
      if (seen.has(key)) throw new Error(`key ${key} twice in a section`);
      seen.add(key);
      if (i < onGpuCount) this.held.set(key, HELD_ON_GPU);
      else if (i < onGpuCount + belowCount) this.held.set(key, HELD_BELOW);
      else this.held.delete(key);
    }
    this.saidKeys += keys.length / 2;
    this.isWhole ||= flags.completes;
    return true;
  }

  takeAll(mirror: EndpointMirror): void {
    while (this.take(mirror));
  }
}

const HOLDINGS = [NOT_HELD, HELD_BELOW, HELD_ON_GPU] as const;
const step = fc.oneof(
  {
    weight: 10,
    arbitrary: fc.record({
      op: fc.constant("held" as const),
      rank: fc.nat(2),
      key: fc.nat(20),
      holding: fc.constantFrom<Holding>(...HOLDINGS),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      op: fc.constant("take" as const),
      keys: fc.integer({ min: 1, max: 5 }),
    }),
  },
  { weight: 1, arbitrary: fc.constant({ op: "begin" as const }) },
  { weight: 1, arbitrary: fc.constant({ op: "stop" as const }) },
);

describe("EndpointMirror", () => {
  it("says what is held by any rank, whatever came in between", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200, size: "max" }), (steps) => {
        const mirror = new EndpointMirror();
        const listener = new Listener();
        const byRank = new Map<string, Holding>();
        let isSent = false;
        for (const each of steps) {
          if (each.op === "held") {
            mirror.held(each.rank, each.key, highOf(each.key), each.holding);
            byRank.set(`${each.rank}:${each.key}`, each.holding);
          } else if (each.op === "take") {
            listener.take(mirror, each.keys);
          } else {
            isSent = each.op === "begin";
            if (isSent) mirror.begin();
            else mirror.stop();
          }
        }
        expect(isSent || mirror.dueCount === 0).toBe(true);
        if (!isSent) mirror.begin();
        listener.takeAll(mirror);
        expect([mirror.dueCount, listener.isWhole]).toEqual([0, true]);
        const expected = new Map<number, Holding>();
        for (const [name, holding] of byRank) {
          const key = Number(name.split(":")[1]);
          const best = Math.max(holding, expected.get(key) ?? NOT_HELD) as Holding;
          if (best !== NOT_HELD) expected.set(key, best);
        }
        expect(Object.fromEntries(listener.held)).toEqual(Object.fromEntries(expected));
        expect(mirror.keyCount).toBe(expected.size);
      }),
      { numRuns: 300 },
    );
  });

  it("says nothing of what came and went between two sections", () => {
    const mirror = new EndpointMirror();
    const listener = new Listener();
    mirror.begin();
    listener.takeAll(mirror);
    mirror.held(0, 1, highOf(1), HELD_ON_GPU);
    mirror.held(0, 1, highOf(1), NOT_HELD);
    mirror.held(0, 2, highOf(2), HELD_ON_GPU);
    mirror.held(0, 2, highOf(2), HELD_BELOW);
    listener.takeAll(mirror);
    expect(listener.saidKeys).toBe(1);
    expect(listener.held).toEqual(new Map([[2, HELD_BELOW]]));
  });

  it("completes what it began with its last section, also where nothing is held", () => {
    const mirror = new EndpointMirror();
    const listener = new Listener();
    mirror.begin();
    expect(listener.take(mirror)).toBe(true);
    expect(listener.isWhole).toBe(true);
    for (let key = 0; key < 10; key++) mirror.held(0, key, highOf(key), HELD_ON_GPU);
    mirror.begin();
    const wholeAfter = Array.from({ length: 3 }, () => {
      listener.take(mirror, 4);
      return listener.isWhole;
    });
    expect(wholeAfter).toEqual([false, false, true]);
  });

  it("walks what it holds where more has changed than is queued", () => {
    const mirror = new EndpointMirror();
    const listener = new Listener();
    mirror.begin();
    listener.takeAll(mirror);
    const count = MIRROR_LIMITS.queueMax + 10;
    for (let key = 0; key < count; key++) mirror.held(0, key, highOf(key), HELD_ON_GPU);
    // Walked from here on: also what changes once more.
    mirror.held(0, 5, highOf(5), NOT_HELD);
    mirror.held(0, 6, highOf(6), HELD_BELOW);
    expect(mirror.dueCount).toBeLessThanOrEqual(count);
    listener.takeAll(mirror);
    expect(listener.held.size).toBe(count - 1);
    expect([listener.held.get(5), listener.held.get(6)]).toEqual([undefined, HELD_BELOW]);
    expect(listener.saidKeys).toBe(count - 1);
  });

  it("takes as many keys as it is bounded to, and lacks some until it was filled again", () => {
    const mirror = new EndpointMirror(1_000);
    const hold = (from: number, to: number, holding: Holding) => {
      for (let key = from; key < to; key++) mirror.held(0, key, highOf(key), holding);
    };
    hold(0, 1_000, HELD_ON_GPU);
    expect([mirror.keyCount, mirror.lacksKeys]).toEqual([1_000, false]);
    hold(1_000, 1_001, HELD_ON_GPU);
    expect([mirror.keyCount, mirror.lacksKeys, mirror.leftOut]).toEqual([1_000, true, 1]);
    hold(0, 249, NOT_HELD);
    expect([mirror.lacksKeys, mirror.canRefill]).toEqual([true, false]);
    hold(249, 250, NOT_HELD);
    expect([mirror.lacksKeys, mirror.canRefill]).toEqual([true, true]);
    mirror.refill();
    hold(250, 1_001, HELD_ON_GPU);
    expect([mirror.keyCount, mirror.lacksKeys, mirror.canRefill]).toEqual([751, false, false]);
  });

  it("tells ranks apart up to its bound, and lacks what further ones hold", () => {
    const mirror = new EndpointMirror();
    mirror.held(MIRROR_LIMITS.ranksMax - 1, 1, 1, HELD_BELOW);
    expect([mirror.keyCount, mirror.lacksKeys]).toEqual([1, false]);
    mirror.held(MIRROR_LIMITS.ranksMax, 2, 1, HELD_BELOW);
    expect([mirror.keyCount, mirror.lacksKeys, mirror.canRefill]).toEqual([1, true, false]);
  });
});
