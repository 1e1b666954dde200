import { describe, expect, it } from "vitest";
import { createRng } from "../../../src/scheduler/support/rng.ts";
import { description, Isolate } from "./support/isolate.ts";

const NOW_MS = 1_000_000;

function waitOf(isolate: Isolate, pool: string, nowMs: number): number {
  const { candidates } = isolate.choose(nowMs);
  return candidates.find((candidate) => candidate.pool === pool)!.terms["waitMs"]!;
}

function isolateOf(...names: string[]): Isolate {
  const isolate = new Isolate(names.map((name) => description(name)));
  isolate.allHear(NOW_MS);
  return isolate;
}

describe("what this isolate has sent", () => {
  it("adds to the wait at once, as the time it takes the whole pool", () => {
    const isolate = isolateOf("a", "b");
    isolate.table.dispatched("a", 8_000, NOW_MS);
    // 8,000 tokens · 0.1 ms / 8 endpoints.
    expect(waitOf(isolate, "a", NOW_MS)).toBeCloseTo(100);
    expect(waitOf(isolate, "b", NOW_MS)).toBe(0);
  });

  it("is worked off while nothing more comes", () => {
    const isolate = isolateOf("a");
    isolate.table.dispatched("a", 8_000, NOW_MS);
    expect(waitOf(isolate, "a", NOW_MS + 60)).toBeCloseTo(40);
    expect(waitOf(isolate, "a", NOW_MS + 200)).toBe(0);
  });

  it("is forgotten with a sample that was sent after it, and kept with one from before", () => {
    const isolate = isolateOf("a");
    isolate.table.dispatched("a", 80_000, NOW_MS + 500);
    isolate.hears("a", NOW_MS + 400);
    expect(waitOf(isolate, "a", NOW_MS + 500)).toBeCloseTo(900, -2);
    isolate.hears("a", NOW_MS + 800);
    expect(waitOf(isolate, "a", NOW_MS + 800)).toBe(0);
  });

  it("is kept while it may still be on its way when the sample is sent", () => {
    const isolate = isolateOf("a");
    isolate.table.dispatched("a", 80_000, NOW_MS + 500);
    isolate.hears("a", NOW_MS + 550);
    expect(waitOf(isolate, "a", NOW_MS + 550)).toBeCloseTo(1_000);
  });
});

describe("what a pool has told", () => {
  it("is worked off for a while, and never because nothing is heard", () => {
    const isolate = isolateOf("a", "b");
    isolate.hears("a", NOW_MS, { load: { waitMs: 5_000 } });
    expect(waitOf(isolate, "a", NOW_MS + 1_000)).toBeCloseTo(4_000);
    const afterMs = [2_000, 3_000, 10_000, 60_000];
    const waits = afterMs.map((ageMs) => waitOf(isolate, "a", NOW_MS + ageMs));
    expect(waits[0]).toBeGreaterThan(3_400);
    expect(waits).toEqual(waits.toSorted((x, y) => x - y));
  });

  it("stays as it is where the others send as much as it ends", () => {
    const isolate = isolateOf("a");
    // A request takes 100 ms / 8 of the pool: 80 a second are what it can do.
    isolate.hears("a", NOW_MS, { load: { waitMs: 400 }, speed: { endedPerSecond: 80.2 } });
    isolate.table.dispatched("a", 1_000, NOW_MS);
    expect(waitOf(isolate, "a", NOW_MS + 1_000)).toBeGreaterThan(350);
    expect(waitOf(isolate, "a", NOW_MS + 1_000)).toBeLessThan(450);
  });
});

/** Pools of 80 requests a second, at 120 in all, told of once a second; gives the mean wait in ms. */
function meanWaitMs(isolateCount: number, isOwnOnly: boolean): number {
  const rng = createRng(7);
  const names = ["a", "b"];
  const isolates = Array.from({ length: isolateCount }, (_, i) => {
    const pools = [description("a", { rttMs: 10 }), description("b", { rttMs: 40 })];
    return new Isolate(pools, {}, { seed: 1_000 * i + 1 });
  });
  const backlogMs: Record<string, number> = { a: 0, b: 0 };
  const endedPerSecond: Record<string, number> = { a: 60, b: 60 };
  const sent: Record<string, number> = { a: 0, b: 0 };
  let waits = 0;
  let count = 0;
  let nextMs = NOW_MS;
  for (let nowMs = NOW_MS; nowMs < NOW_MS + 40_000; nowMs++) {
    for (const name of names) backlogMs[name] = Math.max(0, backlogMs[name]! - 1);
    if ((nowMs - NOW_MS) % 1_000 === 0) {
      for (const name of names) {
        endedPerSecond[name]! += (sent[name]! - endedPerSecond[name]!) / 10;
        sent[name] = 0;
        const told = isOwnOnly ? 0 : endedPerSecond[name]!;
        const load = { waitMs: backlogMs[name]! };
        for (const isolate of isolates)
          isolate.hears(name, nowMs, { load, speed: { endedPerSecond: told } });
      }
    }
    for (; nextMs <= nowMs; nextMs += (-Math.log(1 - rng()) * 1_000) / 120) {
      const name = isolates[Math.floor(rng() * isolateCount)]!.send(nowMs);
      if (nowMs > NOW_MS + 20_000) {
        waits += backlogMs[name]!;
        count += 1;
      }
      backlogMs[name]! += 12.5;
      sent[name]! += 1;
    }
  }
  return waits / count;
}

describe("many isolates that look at the same summaries", () => {
  it("do not herd to whichever pool they were told was free", () => {
    const blind = meanWaitMs(50, true);
    const seeing = meanWaitMs(50, false);
    expect(seeing).toBeLessThan(0.6 * blind);
    // One alone knows everything; the distance to it is what the others' luck is worth.
    expect(meanWaitMs(1, false)).toBeLessThan(seeing);
  });

  it("spread over pools that cost alike, whatever the summary's age", () => {
    const names = ["a", "b", "c", "d"];
    const firsts = new Map<string, number>();
    for (let seed = 0; seed < 50; seed++) {
      const pools = names.map((name) => description(name));
      const isolate = new Isolate(pools, {}, { seed: 77 * seed });
      isolate.allHear(NOW_MS, { speed: { endedPerSecond: 10 } });
      for (let i = 0; i < 20; i++) {
        const name = isolate.send(NOW_MS + 900 + i);
        firsts.set(name, (firsts.get(name) ?? 0) + 1);
      }
    }
    for (const name of names) {
      expect(firsts.get(name)).toBeGreaterThan(200);
      expect(firsts.get(name)).toBeLessThan(300);
    }
  });
});
