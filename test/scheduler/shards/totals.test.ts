import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  TOLD_AGAIN_MS,
  type Total,
  TotalsOfAll,
  TotalsOfOthers,
} from "../../../src/scheduler/shards/totals.ts";

/** A shard with totals of its own, and what it has been told of the others'. */
class Shard {
  readonly own = new Map<string, { life: string; total: number }>();
  readonly others = new TotalsOfOthers();
  readonly heard = new Map<string, number>();
  life = 0;

  add(key: string, amount: number): void {
    const entry = this.own.get(key) ?? { life: `l${this.life}`, total: 0 };
    entry.total += amount;
    this.own.set(key, entry);
  }

  tell(): Total[] {
    return [...this.own].map(([key, { life, total }]) => ({ key, life, total }));
  }

  hear(source: string, totals: readonly Total[], nowMs: number): void {
    for (const [key, change] of this.others.heard(source, totals, nowMs))
      this.heard.set(key, (this.heard.get(key) ?? 0) + change);
  }
}

const of = (shard: number) => ({ shard, epoch: "e" });

const shards = 3;
const someEvent = fc.oneof(
  fc.record({
    do: fc.constant("add" as const),
    shard: fc.nat(shards - 1),
    key: fc.constantFrom("a", "b"),
    amount: fc.integer({ min: -5, max: 20 }),
  }),
  fc.record({
    do: fc.constantFrom("push" as const, "lose-ask" as const, "lose-answer" as const),
    shard: fc.nat(shards - 1),
  }),
  fc.record({ do: fc.constant("begin-anew" as const), shard: fc.nat(shards - 1) }),
);

describe("totals", () => {
  it("reach every other shard in full, whatever is lost, doubled or begun anew", () => {
    fc.assert(
      fc.property(fc.array(someEvent, { maxLength: 120 }), (events) => {
        const lead = new TotalsOfAll("lead");
        const all = Array.from({ length: shards }, () => new Shard());
        const added = all.map(() => new Map<string, number>());
        let nowMs = 0;
        const push = (shard: number, lost?: "ask" | "answer") => {
          nowMs += 1;
          const one = all[shard]!;
          const wantsAll = one.others.wantsAll(nowMs) || one.others.source !== "lead";
          if (lost === "ask") return;
          lead.told({ shard, epoch: "e" }, one.tell(), nowMs);
          lead.told({ shard, epoch: "e" }, one.tell(), nowMs);
          const answer = lead.othersOf(shard, wantsAll, nowMs);
          if (lost === "answer") return;
          one.hear("lead", answer, nowMs);
          one.hear("lead", answer, nowMs);
        };
        // Each has been heard before anything is counted.
        for (let shard = 0; shard < shards; shard++) push(shard);
        for (const event of events) {
          if (event.do === "add") {
            all[event.shard]!.add(event.key, event.amount);
            const sums = added[event.shard]!;
            sums.set(event.key, (sums.get(event.key) ?? 0) + event.amount);
          } else if (event.do === "begin-anew") {
            // It has told all it had, and begins at 0 under another name.
            push(event.shard);
            all[event.shard]!.own.clear();
            all[event.shard]!.life += 1;
          } else if (event.do === "push") push(event.shard);
          else push(event.shard, event.do === "lose-ask" ? "ask" : "answer");
        }
        for (let i = 0; i < 2; i++) for (let shard = 0; shard < shards; shard++) push(shard);
        for (const [shard, one] of all.entries())
          for (const key of ["a", "b"]) {
            const wanted = added
              .filter((_, other) => other !== shard)
              .reduce((sum, sums) => sum + (sums.get(key) ?? 0), 0);
            expect(one.heard.get(key) ?? 0).toBe(wanted);
          }
      }),
    );
  });

  it("of a lead that begins anew count from there on", () => {
    const shard = new Shard();
    const before = new TotalsOfAll("one");
    before.told(of(1), [], 0);
    shard.hear("one", before.othersOf(0, true, 0), 0);
    before.told(of(1), [{ key: "a", life: "x", total: 10 }], 1);
    shard.hear("one", before.othersOf(0, true, 1), 1);
    const after = new TotalsOfAll("two");
    after.told(of(1), [{ key: "a", life: "x", total: 15 }], 2);
    shard.hear("two", after.othersOf(0, true, 2), 2);
    after.told(of(1), [{ key: "a", life: "x", total: 18 }], 3);
    shard.hear("two", after.othersOf(0, false, 3), 3);
    expect(shard.heard.get("a")).toBe(10 + 3);
  });

  it("of a lead that begins anew do not count what others did before it", () => {
    const shard = new Shard();
    shard.hear("one", [], 0);
    const lead = new TotalsOfAll("two");
    // The shard is first to tell the new lead, and hears that there is nothing.
    shard.hear("two", lead.othersOf(0, true, 1), 1);
    lead.told(of(1), [{ key: "a", life: "x", total: 5_000_000 }], 2);
    shard.hear("two", lead.othersOf(0, false, 2), 2);
    lead.told(of(1), [{ key: "a", life: "x", total: 5_000_003 }], 3);
    // The other one's first work of that kind.
    lead.told(of(1), [{ key: "b", life: "x", total: 7 }], 3);
    shard.hear("two", lead.othersOf(0, false, 3), 3);
    expect(shard.heard.get("a")).toBe(3);
    expect(shard.heard.get("b")).toBe(7);
  });

  it("of a shard's life before that come late count for nothing", () => {
    const lead = new TotalsOfAll("lead");
    lead.told({ shard: 1, epoch: "old" }, [{ key: "a", life: "old.1", total: 100 }], 0);
    lead.told({ shard: 1, epoch: "new" }, [], 1);
    lead.told({ shard: 1, epoch: "old" }, [{ key: "a", life: "old.1", total: 100 }], 2);
    lead.told({ shard: 1, epoch: "new" }, [], 3);
    lead.told({ shard: 1, epoch: "new" }, [{ key: "a", life: "new.1", total: 4 }], 4);
    expect(lead.othersOf(0, true, 4)[0]!.total).toBe(4);
  });

  it.each([
    ["by the lead", 2, 9],
    ["by who hears them", 9, 2],
  ])("that were forgotten %s begin where they are", (_who, leadsMax, othersMax) => {
    const lead = new TotalsOfAll("lead", leadsMax);
    const others = new TotalsOfOthers(othersMax);
    const tell = (key: string, total: number, nowMs: number) => {
      lead.told(of(1), [{ key, life: "x", total }], nowMs);
      const told = lead.othersOf(0, false, nowMs).filter((each) => each.key === key);
      return Object.fromEntries(others.heard("lead", told, nowMs));
    };
    lead.told(of(1), [], 0);
    others.heard("lead", [], 0);
    expect(tell("a", 100, 1)).toEqual({ a: 100 });
    expect(tell("b", 100, 2)).toEqual({ b: 100 });
    expect(tell("c", 100, 3)).toEqual({ c: 100 });
    // Since then nobody knows of what is new whether it is.
    expect(tell("a", 105, 4)).toEqual({});
    expect(tell("a", 110, 5)).toEqual({ a: 5 });
    expect(lead.size).toBe(Math.min(3, leadsMax));
  });

  it("are never counted twice, whoever begins anew or forgets", () => {
    const someStep = fc.oneof(
      fc.record({
        do: fc.constant("add" as const),
        shard: fc.nat(shards - 1),
        key: fc.constantFrom("a", "b", "c", "d"),
        amount: fc.integer({ min: 1, max: 20 }),
      }),
      fc.record({
        do: fc.constantFrom("push", "push", "push", "push", "shard-anew", "lead-anew"),
        shard: fc.nat(shards - 1),
      }),
    );
    fc.assert(
      fc.property(fc.array(someStep, { maxLength: 120 }), (steps) => {
        let leads = 1;
        let lead = new TotalsOfAll("lead1", 3);
        const all = Array.from({ length: shards }, () => new Shard());
        const added = all.map(() => new Map<string, number>());
        for (const [nowMs, step] of steps.entries()) {
          const one = all[step.shard]!;
          if (step.do === "add") {
            one.add(step.key, step.amount);
            const sums = added[step.shard]!;
            sums.set(step.key, (sums.get(step.key) ?? 0) + step.amount);
          } else if (step.do === "shard-anew") {
            one.own.clear();
            one.life += 1;
          } else if (step.do === "lead-anew") {
            leads += 1;
            lead = new TotalsOfAll(`lead${leads}`, 3);
          } else {
            const wantsAll = one.others.wantsAll(nowMs);
            lead.told({ shard: step.shard, epoch: `e${one.life}` }, one.tell(), nowMs);
            one.hear(`lead${leads}`, lead.othersOf(step.shard, wantsAll, nowMs), nowMs);
          }
        }
        for (const [shard, one] of all.entries())
          for (const [key, heard] of one.heard) {
            const wanted = added
              .filter((_, other) => other !== shard)
              .reduce((sum, sums) => sum + (sums.get(key) ?? 0), 0);
            expect(heard).toBeLessThanOrEqual(wanted);
            expect(heard).toBeGreaterThanOrEqual(0);
          }
      }),
      { numRuns: 300 },
    );
  });

  it("that have not changed lately cost nothing to those who want only news", () => {
    const lead = new TotalsOfAll("lead");
    lead.told(of(1), [{ key: "a", life: "x", total: 1 }], 0);
    lead.told(of(1), [{ key: "b", life: "x", total: 1 }], 4_000);
    lead.told(of(1), [{ key: "a", life: "x", total: 2 }], 4_500);
    expect(lead.othersOf(0, false, 9_200).map(({ key }) => key)).toEqual(["a"]);
    expect(lead.othersOf(0, false, 9_600)).toEqual([]);
    lead.told(of(1), [{ key: "b", life: "x", total: 2 }], 9_600);
    expect(lead.othersOf(0, false, 9_601).map(({ key }) => key)).toEqual(["b"]);
    expect(lead.othersOf(0, true, 9_601)).toHaveLength(2);
  });

  it("are told again only while they change, and to whoever may have missed some", () => {
    const lead = new TotalsOfAll("lead");
    lead.told(of(1), [{ key: "a", life: "x", total: 10 }], 0);
    expect(lead.othersOf(0, false, TOLD_AGAIN_MS)).toHaveLength(1);
    expect(lead.othersOf(0, false, TOLD_AGAIN_MS + 1)).toEqual([]);
    expect(lead.othersOf(0, true, TOLD_AGAIN_MS + 1)).toHaveLength(1);
    const others = new TotalsOfOthers();
    expect(others.wantsAll(0)).toBe(true);
    others.heard("lead", [], 0);
    expect(others.wantsAll(TOLD_AGAIN_MS / 2)).toBe(false);
    expect(others.wantsAll(TOLD_AGAIN_MS / 2 + 1)).toBe(true);
  });

  it("hold so many, and forget those that changed longest ago", () => {
    const lead = new TotalsOfAll("lead", 3);
    for (const [i, key] of ["a", "b", "c"].entries())
      lead.told(of(1), [{ key, life: "x", total: 1 }], i);
    lead.told(of(1), [{ key: "a", life: "x", total: 2 }], 3);
    lead.told(of(1), [{ key: "d", life: "x", total: 1 }], 4);
    expect(lead.size).toBe(3);
    expect(lead.othersOf(0, true, 4).map(({ key }) => key)).toEqual(["c", "a", "d"]);
    lead.told(of(1), [{ key: "e", life: "x", total: Number.NaN }], 5);
    expect(lead.size).toBe(3);
  });
});
