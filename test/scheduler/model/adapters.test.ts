import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  ADAPTER_NAMES_MAX,
  ADAPTERS_PER_ENDPOINT_MAX,
  Adapters,
} from "../../../src/scheduler/model/adapters.ts";

const SLOTS = 128;
const newAdapters = () => new Adapters(new Int32Array(SLOTS));
const names = (count: number, prefix = "a") => Array.from({ length: count }, (_, i) => prefix + i);

describe("Adapters", () => {
  it("say what is active, waiting and absent", () => {
    const adapters = newAdapters();
    adapters.set(3, { active: ["sql", "chat"], waiting: ["chat", "law"], maxActive: 4 });
    expect(["sql", "chat", "law", "base"].map((name) => adapters.stateOf(3, name))).toEqual([
      "active",
      "active",
      "waiting",
      "absent",
    ]);
    expect([adapters.activeCount(3), adapters.waitingCount(3), adapters.maxActive(3)]).toEqual([
      2, 2, 4,
    ]);
    expect([adapters.stateOf(4, "sql"), adapters.maxActive(4)]).toEqual(["absent", 0]);
  });

  it("name those that are active anywhere, once each and at most so many", () => {
    const adapters = newAdapters();
    adapters.set(0, { active: ["sql", "chat"], waiting: ["law"], maxActive: 4 });
    adapters.set(5, { active: ["chat", "tax"], waiting: [], maxActive: 4 });
    expect(adapters.activeNames(10)).toEqual(["sql", "chat", "tax"]);
    expect(adapters.activeNames(2)).toEqual(["sql", "chat"]);
    adapters.clear(5);
    expect(adapters.activeNames(10)).toEqual(["sql", "chat"]);
  });

  it("forget what a new report no longer names, and everything when cleared", () => {
    const adapters = newAdapters();
    adapters.set(0, { active: ["sql"], waiting: ["law"], maxActive: 2 });
    expect(adapters.stateOf(0, "law")).toBe("waiting");
    adapters.set(0, { active: ["law"], waiting: [], maxActive: 2 });
    expect([adapters.stateOf(0, "sql"), adapters.stateOf(0, "law")]).toEqual(["absent", "active"]);
    expect(adapters.nameCount).toBe(1);
    adapters.clear(0);
    expect([adapters.stateOf(0, "law"), adapters.activeCount(0), adapters.maxActive(0)]).toEqual([
      "absent",
      0,
      0,
    ]);
    expect(adapters.nameCount).toBe(0);
  });

  it("keep as many adapters of an endpoint as they say; the rest is absent, and counts", () => {
    const adapters = newAdapters();
    const active = names(ADAPTERS_PER_ENDPOINT_MAX + 1);
    adapters.set(0, { active, waiting: ["w"], maxActive: 0 });
    expect(adapters.stateOf(0, active[ADAPTERS_PER_ENDPOINT_MAX - 1]!)).toBe("active");
    expect(adapters.stateOf(0, active[ADAPTERS_PER_ENDPOINT_MAX]!)).toBe("absent");
    expect(adapters.stateOf(0, "w")).toBe("waiting");
    expect(adapters.activeCount(0)).toBe(ADAPTERS_PER_ENDPOINT_MAX + 1);
  });

  it("keep as many names of a pool as they say, and take new ones once old ones are gone", () => {
    const adapters = newAdapters();
    const slots = ADAPTER_NAMES_MAX / ADAPTERS_PER_ENDPOINT_MAX;
    for (let slot = 0; slot < slots; slot++) {
      const active = names(ADAPTERS_PER_ENDPOINT_MAX, `s${slot}-`);
      adapters.set(slot, { active, waiting: [], maxActive: 0 });
    }
    expect(adapters.nameCount).toBe(ADAPTER_NAMES_MAX);
    adapters.set(slots, { active: ["one more", "s0-0"], waiting: [], maxActive: 0 });
    expect(adapters.stateOf(slots, "one more")).toBe("absent");
    expect(adapters.stateOf(slots, "s0-0")).toBe("active");
    adapters.clear(1);
    adapters.set(slots, { active: ["one more"], waiting: [], maxActive: 0 });
    expect(adapters.stateOf(slots, "one more")).toBe("active");
  });

  it("agree with a naive model under any reports", () => {
    const name = fc.constantFrom("a", "b", "c", "d", "e");
    const step = fc.record({
      slot: fc.nat(3),
      active: fc.uniqueArray(name),
      waiting: fc.uniqueArray(name),
      isCleared: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        const adapters = newAdapters();
        const model = new Map<number, { active: string[]; waiting: string[] }>();
        for (const { slot, active, waiting, isCleared } of steps) {
          if (isCleared) adapters.clear(slot);
          else adapters.set(slot, { active, waiting, maxActive: 1 });
          model.set(slot, isCleared ? { active: [], waiting: [] } : { active, waiting });
          for (const [at, known] of model) {
            for (const asked of ["a", "b", "c", "d", "e"]) {
              const waits = known.waiting.includes(asked) ? "waiting" : "absent";
              const expected = known.active.includes(asked) ? "active" : waits;
              expect(adapters.stateOf(at, asked)).toBe(expected);
            }
          }
          const used = new Set([...model.values()].flatMap((m) => [...m.active, ...m.waiting]));
          expect(adapters.nameCount).toBe(used.size);
        }
      }),
      { numRuns: 50 },
    );
  });
});
