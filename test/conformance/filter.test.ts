// Every filter in the registry honours the Filter contract (src/scheduler/plugin.ts).

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  type ContextFacts,
  contextFacts,
  contextOf,
  type FactRow,
  sampleFacts,
  snapshot,
  taught,
} from "./contexts.ts";
import { examplesOf } from "./params.ts";
import { createFilter, keptBy } from "../scheduler/support/plugins.ts";

/** Examples that keep all or nobody, whatever they are shown; each with the reason. */
const NEVER_MIXED: Readonly<Record<string, string>> = {
  "context-length-aware": "it filters only where enableFiltering is set, as in another example",
};

describe.for(examplesOf("filter"))("$name", ({ name, type, params }) => {
  const create = () => taught(createFilter(type, params));
  const keptOf = (facts: ContextFacts): number[] => {
    const context = contextOf(facts);
    const kept = create().filter(context);
    expect(kept).toBeLessThanOrEqual(facts.candidates.length);
    return [...context.candidates.subarray(0, kept)];
  };

  it("keeps candidates only, each once, in their order", () => {
    fc.assert(
      fc.property(contextFacts, (facts) => {
        const kept = keptOf(facts);
        expect(kept).toEqual(facts.candidates.filter((slot) => kept.includes(slot)));
      }),
    );
  });

  it("keeps the same when asked again of what it kept", () => {
    fc.assert(
      fc.property(contextFacts, (facts) => {
        const kept = keptOf(facts);
        expect(keptOf({ ...facts, candidates: kept })).toEqual(kept);
      }),
    );
  });

  it("keeps some and drops some of a few samples, or says why it cannot", () => {
    const isMixed = sampleFacts(200).some((facts) => {
      const kept = keptOf(facts).length;
      return kept > 0 && kept < facts.candidates.length;
    });
    expect(isMixed).toBe(NEVER_MIXED[name] === undefined);
  });

  it("leaves the columns and the length of the candidates' buffer alone", () => {
    fc.assert(
      fc.property(contextFacts, (facts) => {
        const context = contextOf(facts);
        const before = snapshot({ ...context, candidates: new Int32Array(0) });
        create().filter(context);
        expect(snapshot({ ...context, candidates: new Int32Array(0) })).toBe(before);
        expect(context.candidates).toHaveLength(facts.candidates.length);
      }),
    );
  });
});

/** What makes an endpoint look worse to each filter of loads. */
const WORSE: Readonly<Record<string, (row: FactRow, by: number) => FactRow>> = {
  "utilization-filter": more,
  "utilization-detector": more,
  "concurrency-detector": more,
  "prefix-cache-affinity-filter": (row, by) => (row.matchedBlocks === 0 ? more(row, by) : row),
  "slo-headroom-tier-filter": (row, by) => ({
    ...row,
    ttftHeadroomMs: (row.ttftHeadroomMs ?? 0) - by,
  }),
};

function more(row: FactRow, by: number): FactRow {
  return {
    ...row,
    // Counts are columns of 32 bits, which EndpointTable never lets overflow.
    queueDepth: Math.min(0x7fff_ffff, (row.queueDepth ?? 0) + by),
    runningRequests: (row.runningRequests ?? 0) + by,
    kvUsage: Math.min(1, (row.kvUsage ?? 0) + by / 1_000),
    inFlightRequests: (row.inFlightRequests ?? 0) + by,
    inFlightTokens: (row.inFlightTokens ?? 0) + 100 * by,
  };
}

// Exploring requests look for the worse endpoints on purpose.
const loadFilters = examplesOf("filter").filter(
  ({ type, params }) =>
    WORSE[type] !== undefined && !("epsilonExploreNeg" in params && params.epsilonExploreNeg === 1),
);

describe.for(loadFilters)("$name", ({ type, params }) => {
  it("keeps no endpoint for more load that it dropped for less", () => {
    fc.assert(
      fc.property(contextFacts, fc.nat(), fc.integer({ min: 1, max: 500 }), (facts, at, by) => {
        const slot = facts.candidates[at % Math.max(1, facts.candidates.length)];
        if (slot === undefined) return;
        const rows = facts.rows.map((row, other) => (other === slot ? WORSE[type]!(row, by) : row));
        const before = keptBy(type, params, contextOf(facts));
        if (before.includes(slot)) return;
        expect(keptBy(type, params, contextOf({ ...facts, rows }))).not.toContain(slot);
      }),
    );
  });

  it("keeps no endpoint for the lack of a fresh sample that it dropped with one", () => {
    fc.assert(
      fc.property(contextFacts, fc.nat(), (facts, at) => {
        const slot = facts.candidates[at % Math.max(1, facts.candidates.length)];
        if (slot === undefined) return;
        const withAge = (ageMs: number) => ({
          ...facts,
          rows: facts.rows.map((row, other) => (other === slot ? { ...row, ageMs } : row)),
        });
        const fresh = keptBy(type, params, contextOf(withAge(0)));
        // Where the pool is full all over, all are kept.
        const isOpen = fresh.length === facts.candidates.length;
        if (fresh.includes(slot) || isOpen) return;
        expect(keptBy(type, params, contextOf(withAge(Infinity)))).not.toContain(slot);
      }),
    );
  });
});
