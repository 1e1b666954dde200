// Every scorer in the registry honours the Scorer contract (src/scheduler/plugin.ts), whatever its
// formula.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Scorer } from "../../src/scheduler/plugin.ts";
import {
  type ContextFacts,
  contextFacts,
  contextOf,
  ROWS_MAX,
  sampleFacts,
  snapshot,
  taught,
} from "./contexts.ts";
import { examplesOf } from "./params.ts";
import { createScorer } from "../scheduler/support/plugins.ts";

const UNTOUCHED = -7;

function scoresOf(scorer: Scorer, facts: ContextFacts): number[] {
  const out = new Float64Array(facts.candidates.length);
  scorer.score(contextOf(facts), out);
  return [...out];
}

describe.for(examplesOf("scorer"))("$name", ({ type, params }) => {
  const createNew = (): Scorer => createScorer(type, params);
  const create = (): Scorer => taught(createNew());

  it("tells endpoints of a few samples apart", () => {
    const isVaried = sampleFacts(200).some((facts) => new Set(scoresOf(create(), facts)).size > 1);
    expect(isVaried).toBe(true);
  });

  it("writes a score in [0, 1] for every candidate and nothing past the last", () => {
    fc.assert(
      fc.property(contextFacts, (facts) => {
        const count = facts.candidates.length;
        const out = new Float64Array(count + 2).fill(UNTOUCHED);
        create().score(contextOf(facts), out);
        for (const score of out.subarray(0, count)) expect(score >= 0 && score <= 1).toBe(true);
        expect([...out.subarray(count)]).toEqual([UNTOUCHED, UNTOUCHED]);
      }),
    );
  });

  it("gives the same scores on a second call", () => {
    fc.assert(
      fc.property(contextFacts, (facts) => {
        const scorer = create();
        expect(scoresOf(scorer, facts)).toEqual(scoresOf(scorer, facts));
      }),
    );
  });

  it("changes nothing in the decision", () => {
    fc.assert(
      fc.property(contextFacts, (facts) => {
        const context = contextOf(facts);
        const before = snapshot(context);
        create().score(context, new Float64Array(facts.candidates.length));
        expect(snapshot(context)).toBe(before);
      }),
    );
  });

  it("does not look at endpoints that are neither candidates nor chosen by another profile", () => {
    fc.assert(
      fc.property(contextFacts, (facts) => {
        const rows = facts.rows.map((row, slot) =>
          facts.candidates.includes(slot) || slot === facts.firstSlot
            ? row
            : { queueDepth: 77, matchedBlocks: 1, ageMs: 0 },
        );
        expect(scoresOf(create(), { ...facts, rows })).toEqual(scoresOf(create(), facts));
      }),
    );
  });

  it("gives no endpoint more for the lack of a fresh sample", () => {
    fc.assert(
      fc.property(contextFacts, (facts) => {
        const scorer = create();
        const fresh = scoresOf(scorer, {
          ...facts,
          rows: facts.rows.map((row) => ({ ...row, ageMs: 0 })),
        });
        // One candidate turns stale; its own score must not rise.
        facts.candidates.forEach((slot, i) => {
          const rows = facts.rows.map((row, at) => ({
            ...row,
            ageMs: at === slot ? Infinity : 0,
          }));
          expect(scoresOf(scorer, { ...facts, rows })[i]!).toBeLessThanOrEqual(fresh[i]!);
        });
      }),
    );
  });

  it("stays in range after learning from picks, and forgets endpoints that left", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(contextFacts, fc.nat(ROWS_MAX), fc.boolean()), { maxLength: 12 }),
        (picks) => {
          const scorer = createNew();
          for (const [facts, at, isRemoval] of picks) {
            const slot = facts.candidates[at % Math.max(1, facts.candidates.length)];
            if (slot === undefined) continue;
            if (isRemoval) scorer.onEndpointRemoved?.(slot);
            else scorer.onPicked?.(contextOf(facts), slot);
            for (const score of scoresOf(scorer, facts)) {
              expect(score >= 0 && score <= 1).toBe(true);
            }
          }
          // What has learned and then forgotten all is as good as new.
          for (let slot = 0; slot < ROWS_MAX; slot++) scorer.onEndpointRemoved?.(slot);
          for (const [facts] of picks) {
            expect(scoresOf(scorer, facts)).toEqual(scoresOf(createNew(), facts));
          }
        },
      ),
    );
  });
});
