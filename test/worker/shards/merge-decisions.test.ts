import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { DecisionPage } from "../../../src/durable/state.ts";
import {
  mergePages,
  parseCursor,
  type Place,
  queryAt,
} from "../../../src/worker/shards/merge-decisions.ts";

/** An object's decisions, by their numbers from 0: when each was made. */
type Made = readonly number[];
const PAGE = 3;
const QUERY = { agoMs: 1_000, limit: 100 };

/** As the object tells them, PAGE at a time. */
function pageOf(shard: number, made: Made, place: Place, limit = PAGE): DecisionPage {
  const { before = made.length } = queryAt(place, QUERY);
  const from = Math.min(before, made.length);
  const until = Math.max(0, from - Math.min(PAGE, limit));
  const numbers = Array.from({ length: from - until }, (_, i) => from - 1 - i);
  return {
    pool: "eu-1",
    isConfigured: true,
    objectEpoch: `e${shard}`,
    oldestAtMs: made[0] ?? null,
    ...(shard === 0 ? {} : { oldestLocalAtMs: shard }),
    next: until === 0 ? null : until,
    schedulers: [{ kind: "EndpointPickerConfig" }] as never,
    decisions: numbers.map((number) => ({
      requestId: `${shard}:${number}`,
      number,
      attempt: { atMs: made[number]!, scheduler: 0 } as never,
    })),
  };
}

function readAll(objects: readonly Made[], limit: number, missing: readonly number[] = []) {
  const ids: string[] = [];
  const times: number[] = [];
  let places: Place[] = objects.map(() => "newest");
  for (let page = 0; page < 1_000; page++) {
    const answers = objects.flatMap((made, shard) =>
      missing.includes(shard) ? [] : [{ shard, value: pageOf(shard, made, places[shard]!, limit) }],
    );
    const merged = mergePages({ count: objects.length, answers, missing }, places, limit);
    expect(merged.decisions.length).toBeLessThanOrEqual(limit);
    ids.push(...merged.decisions.map(({ requestId }) => requestId));
    times.push(...merged.decisions.map(({ attempt }) => attempt.atMs));
    if (merged.next === null) return { ids, times, pages: page + 1 };
    places = parseCursor(merged.next, objects.length)!;
  }
  throw new Error("pages without end");
}

const made = fc.array(fc.nat(50), { maxLength: 12 }).map((gaps) => {
  let atMs = 0;
  return gaps.map((gap) => (atMs += gap));
});

describe("pages of several objects", () => {
  it("tell every decision once, newest first", () => {
    const objects = fc.array(made, { minLength: 2, maxLength: 4 });
    fc.assert(
      fc.property(objects, fc.integer({ min: 1, max: 7 }), (of, limit) => {
        const { ids, times } = readAll(of, limit);
        const all = of.flatMap((each, shard) => each.map((_, number) => `${shard}:${number}`));
        expect(ids.toSorted()).toEqual(all.toSorted());
        expect(times).toEqual(times.toSorted((a, b) => b - a));
      }),
    );
  });

  it("go on without an object that does not answer, and come to an end", () => {
    const { ids } = readAll([[1, 3, 5], [2, 4], [6]], 2, [1]);
    expect(ids).toEqual(["2:0", "0:2", "0:1", "0:0"]);
  });

  it("tell each scheduler once", () => {
    const answers = [0, 1].map((shard) => ({ shard, value: pageOf(shard, [1, 2], "newest") }));
    const page = mergePages({ count: 2, answers, missing: [] }, ["newest", "newest"], 10);
    expect(page.schedulers).toHaveLength(1);
    expect(page.decisions.map(({ attempt }) => attempt.scheduler)).toEqual([0, 0, 0, 0]);
    expect(page).toMatchObject({ objectEpoch: "e0,e1", oldestAtMs: 1, next: null });
    // The first is of the version before.
    expect(page.oldestLocalAtMs).toBe(1);
  });

  it("name an object's life that is not told of, so that nobody takes it for the same", () => {
    const answers = [{ shard: 1, value: pageOf(1, [1, 2], "newest") }];
    const page = mergePages({ count: 2, answers, missing: [0] }, ["newest", "newest"], 10);
    expect(page.objectEpoch).toBe(",e1");
  });
});

describe("a cursor", () => {
  it.for(["7", "1.2", "1.2.3.4", "a.b.c", "1..2", "-1.2.3", ".", ""])(
    "of three objects is not %s",
    (text) => {
      expect(parseCursor(text, 3)).toBeUndefined();
    },
  );

  it("says where each object goes on", () => {
    expect(parseCursor("130.-.x", 3)).toEqual([130, "newest", "end"]);
  });
});
