// Every data producer in the registry honours the DataProducer contract (src/scheduler/plugin.ts).

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { DataKey } from "../../src/scheduler/data/data.ts";
import type { DataProducer } from "../../src/scheduler/plugin.ts";
import { pluginOf } from "../../src/scheduler/registry.ts";
import { type ContextFacts, contextFacts, contextOf, ROWS_MAX, snapshot } from "./contexts.ts";
import { examplesOf } from "./params.ts";
import { createProducer } from "../scheduler/support/plugins.ts";

/** What a producer says of the candidates: its columns at their slots, and its other facts. */
function saysOf(producer: DataProducer, { candidates }: ContextFacts): unknown {
  return Object.entries(producer.data).map(([key, value]) => [
    key,
    Object.entries(value).map(([name, fact]: [string, unknown]) => [
      name,
      ArrayBuffer.isView(fact)
        ? candidates.map((slot) => (fact as Int32Array | Float64Array)[slot])
        : fact,
    ]),
  ]);
}

function produced(producer: DataProducer, facts: ContextFacts): unknown {
  producer.produce(contextOf(facts));
  return saysOf(producer, facts);
}

describe.for(examplesOf("data-producer"))("$name", ({ type, params }) => {
  const create = (): DataProducer => createProducer(type, params);

  it("has the data that it is registered with from the beginning, and keeps the same objects", () => {
    const producer = create();
    const before = Object.entries(producer.data);
    expect(before.map(([key]) => key as DataKey)).toEqual(pluginOf(type).produces ?? []);
    fc.assert(
      fc.property(contextFacts, (facts) => {
        producer.produce(contextOf(facts));
        expect(Object.entries(producer.data).every(([, value], i) => value === before[i]![1])).toBe(
          true,
        );
      }),
    );
  });

  it("says the same when asked again, whatever it was asked between", () => {
    fc.assert(
      fc.property(contextFacts, contextFacts, (facts, other) => {
        const producer = create();
        const first = JSON.stringify(produced(producer, facts));
        producer.produce(contextOf(other));
        expect(JSON.stringify(produced(producer, facts))).toBe(first);
      }),
    );
  });

  it("changes nothing in the decision", () => {
    fc.assert(
      fc.property(contextFacts, (facts) => {
        const context = contextOf(facts);
        const before = snapshot(context);
        create().produce(context);
        expect(snapshot(context)).toBe(before);
      }),
    );
  });

  it("says no more of who is cached where than there is", () => {
    fc.assert(
      fc.property(contextFacts, (facts) => {
        const producer = create();
        producer.produce(contextOf(facts));
        const { "prefix-match": match } = producer.data;
        if (match === undefined) return;
        expect(match.totalBlocks).toBeLessThanOrEqual(facts.totalBlocks);
        for (const slot of facts.candidates) {
          expect(match.matchedBlocks[slot]).toBeLessThanOrEqual(facts.totalBlocks);
          expect(match.weightedBlocks[slot]).toBeLessThanOrEqual(match.matchedBlocks[slot]!);
        }
      }),
    );
  });

  it("forgets endpoints that left: having learned and forgotten all is as good as new", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(contextFacts, fc.nat(ROWS_MAX)), { maxLength: 8 }),
        contextFacts,
        (picks, facts) => {
          const producer = create();
          for (const [picked, at] of picks) {
            const slot = picked.candidates[at % Math.max(1, picked.candidates.length)];
            if (slot === undefined) continue;
            const context = contextOf(picked);
            producer.produce(context);
            producer.onPicked?.(context, slot);
          }
          for (let slot = 0; slot < ROWS_MAX; slot++) producer.onEndpointRemoved?.(slot);
          expect(JSON.stringify(produced(producer, facts))).toBe(
            JSON.stringify(produced(create(), facts)),
          );
        },
      ),
    );
  });
});
