// Plugins that throw, put in the place of registered ones: a decision goes on without their say. And
// what each draws, whatever the others do.

import { describe, expect, it } from "vitest";
import { schedulerConfigSchema } from "../../src/scheduler/config/schema.ts";
import { EndpointPicker } from "../../src/scheduler/endpoint-picker.ts";
import { PluginCalls, saltOfName } from "../../src/scheduler/plugin-calls.ts";
import type { PickContext, PluginInstance } from "../../src/scheduler/plugin.ts";
import { pickContext } from "./support/pick-context.ts";
import { TestPool } from "./support/pool.ts";
import { recordPick } from "./support/recorded.ts";

const boom = () => {
  throw new Error("boom");
};

/** Clears everything that it is shown before it throws. */
const LATE: Readonly<Record<string, PluginInstance>> = {
  filter: {
    filter(context: PickContext) {
      context.candidates.fill(0, 0, context.candidateCount);
      return boom();
    },
  },
  screener: {
    screen(_context: PickContext, keep: Uint8Array) {
      keep.fill(0);
      boom();
    },
  },
  scorer: {
    score(_context: PickContext, out: Float64Array) {
      out.fill(1);
      boom();
    },
  },
  admitter: { admit: boom },
};

/** A pool of three, the first the busiest, in which the instances of `replaced` are others. */
function poolWith(plugins: readonly object[], replaced: Record<string, PluginInstance>) {
  const config = schedulerConfigSchema.parse({ plugins });
  const failed: string[] = [];
  const picker = new EndpointPicker(
    config,
    (name, plugin) => replaced[name] ?? plugin,
    (type) => failed.push(type),
  );
  const pool = new TestPool(3, config, picker);
  pool.sampleAll({ 0: { waiting: 9 }, 1: { waiting: 1 } });
  return { pool, failed, picker };
}
const queue = { type: "queue-scorer" };

describe("a plugin that throws", () => {
  it("scores 0 for all", () => {
    const { pool, failed } = poolWith([queue, { type: "load-aware-scorer" }], {
      "load-aware-scorer": LATE["scorer"]!,
    });
    const record = recordPick(pool, "x")!;
    expect(record.dropped).toBeUndefined();
    expect(pool.pick("x")).toMatchObject({ ok: true, slots: Int32Array.of(2) });
    expect(failed).toEqual(["load-aware-scorer", "load-aware-scorer"]);
  });

  it("keeps all as a filter, and those before it still have their say", () => {
    const conditions = [{ metric: "waiting-queue", maxValue: 5 }];
    const first = { type: "utilization-filter", parameters: { conditions } };
    const late = { type: "label-selector-filter", name: "late" };
    const { pool, failed } = poolWith([first, late, { type: "random-picker" }], {
      late: LATE["filter"]!,
    });
    const picked = new Set<number>();
    for (let i = 0; i < 50; i++) {
      const outcome = pool.pick("x");
      if (outcome.ok) picked.add(outcome.slots[0]!);
    }
    // The first is too busy, by the filter before it.
    expect([...picked].toSorted((a, b) => a - b)).toEqual([1, 2]);
    expect(new Set(failed)).toEqual(new Set(["label-selector-filter"]));
  });

  it("keeps all as a screener and admits as an admitter", () => {
    const screener = {
      type: "disaggregatedset-rollout-screener",
      parameters: { scope: { labelSelector: "a=b" }, revisionGating: { mode: "disabled" } },
    };
    const { pool, failed } = poolWith([queue, screener, { type: "probabilistic-admitter" }], {
      [screener.type]: LATE["screener"]!,
      "probabilistic-admitter": LATE["admitter"]!,
    });
    expect(pool.pick("x")).toMatchObject({ ok: true, slots: Int32Array.of(2) });
    expect(failed).toEqual([screener.type, "probabilistic-admitter"]);
  });

  it("tells nothing as a producer in this decision, and all the rest in the next", () => {
    let isBroken = true;
    const name = "approx-prefix-cache-producer";
    const config = schedulerConfigSchema.parse({ plugins: [{ type: "prefix-cache-scorer" }] });
    const picker = new EndpointPicker(config, (each, plugin) =>
      each === name
        ? Object.assign(plugin, { produce: wrap(plugin.produce!.bind(plugin), () => isBroken) })
        : plugin,
    );
    const pool = new TestPool(2, config, picker);
    pool.sampleAll();
    const prompt = "x".repeat(10_000);
    const first = pool.pick(prompt);
    expect(first).toMatchObject({ ok: true, totalBlocks: 0, matchedBlocks: 0 });
    isBroken = false;
    expect(pool.pick(prompt)).toMatchObject({ ok: true, totalBlocks: 39 });
  });

  it("does not keep others from hearing of a pick, or of an endpoint that left or started anew", () => {
    const told: string[] = [];
    const { pool, failed, picker } = poolWith([queue, { type: "load-aware-scorer" }], {
      "queue-scorer": {
        score() {},
        onPicked: boom,
        onEndpointRemoved: boom,
        onEndpointRestarted: boom,
      },
      "load-aware-scorer": {
        score() {},
        onPicked: () => told.push("picked"),
        onEndpointRemoved: () => told.push("removed"),
        onEndpointRestarted: () => told.push("restarted"),
      },
    });
    pool.pick("x");
    picker.onEndpointRemoved(1);
    picker.onEndpointRestarted(1);
    expect(told).toEqual(["picked", "removed", "restarted"]);
    expect(failed).toEqual(["queue-scorer", "queue-scorer", "queue-scorer"]);
  });

  it("ends the decision where it is the one who decides", () => {
    const { pool } = poolWith([queue, { type: "max-score-picker" }], {
      "max-score-picker": { pick: boom },
    });
    expect(() => pool.pick("x")).toThrow("boom");
  });
});

function wrap(produce: (context: PickContext) => void, isBroken: () => boolean) {
  return (context: PickContext) => {
    if (isBroken()) boom();
    produce(context);
  };
}

describe("what a plugin draws", () => {
  const called = (name: string) => ({ plugin: {}, name, type: name, salt: saltOfName(name) });

  it("is the same whatever others drew before, and differs by name and seed", () => {
    const calls = new PluginCalls(() => {});
    const draw = (name: string, seed: number) => {
      calls.begin(seed);
      calls.enter(called(name));
      return calls.rng();
    };
    const first = draw("a", 1);
    for (let i = 0; i < 3; i++) draw("b", 1);
    expect(draw("a", 1)).toBe(first);
    expect(draw("b", 1)).not.toBe(first);
    expect(draw("a", 2)).not.toBe(first);
  });

  it("does not depend on a plugin that draws before it", () => {
    const filter = { type: "slo-headroom-tier-filter" };
    const seen: number[][] = [[], []];
    for (const [i, draws] of [false, true].entries()) {
      const { pool } = poolWith([filter, queue], {
        [filter.type]: {
          filter(context: PickContext) {
            if (draws) context.rng();
            return context.candidateCount;
          },
        },
        "queue-scorer": {
          score(context: PickContext) {
            seen[i]!.push(context.rng());
          },
        },
      });
      pool.pick("x", { seed: 7 });
    }
    expect(seen[1]).toEqual(seen[0]);
    expect(pickContext([{}]).rng()).not.toBe(seen[0]![0]);
  });
});
