// What is told of where hits end, from token blocks to content.

import { array, assert, boolean, integer, property, record } from "fast-check";
import { describe, expect, it } from "vitest";
import { ENDS_MARKED, hitEndHigh, hitEndLow } from "../../../src/scheduler/kv/hit-end-keys.ts";
import { ContentResidency } from "../../../src/scheduler/kv/residency/content-residency.ts";
import { HELD_ON_GPU, NOT_HELD } from "../../../src/scheduler/kv/residency/holding.ts";
import { RecordingSink } from "./residency/holding-sink.ts";

const SLOTS = 4;
/** Who says where hits of slot 1 end. */
const ENDINGS = 3;

describe("ContentResidency with a slot that says where hits end", () => {
  const keys = (...names: number[]) => Uint32Array.from(names.flatMap((name) => [name, 5]));
  const endKey = (name: number) => `1/${hitEndLow(name)}:${hitEndHigh(5)}`;

  function residency() {
    const sink = new RecordingSink();
    const contents = new ContentResidency(sink, { slotsMax: SLOTS, bytesMax: 1024 * 1024 });
    contents.beginEndings(ENDINGS, 1);
    return { sink, contents };
  }

  const told = (sink: RecordingSink) =>
    [...sink.holdings.keys()].filter((name) => name !== `1/${ENDS_MARKED.low}:${ENDS_MARKED.high}`);

  it("tells that hits end with content of whose token blocks any says so", () => {
    const { sink, contents } = residency();
    contents.learn({
      contentKeys: keys(10, 20),
      tokenKeys: keys(1, 2, 3, 4),
      ends: Uint32Array.of(2, 4),
    });
    for (const token of [1, 2, 3, 4]) contents.held(1, token, 5, HELD_ON_GPU);
    contents.held(ENDINGS, 1, 5, HELD_ON_GPU);
    expect(told(sink)).toEqual(["1/10:5", "1/20:5", endKey(10)]);
    for (const token of [3, 4]) contents.held(ENDINGS, token, 5, HELD_ON_GPU);
    expect(told(sink)).toContain(endKey(20));
    contents.held(ENDINGS, 4, 5, NOT_HELD);
    expect(told(sink)).toContain(endKey(20));
    contents.held(ENDINGS, 3, 5, NOT_HELD);
    contents.held(ENDINGS, 1, 5, NOT_HELD);
    contents.endEndings(ENDINGS);
    expect([...sink.holdings.keys()]).toEqual(["1/10:5", "1/20:5"]);
  });

  it("tells it of content that is learned later, or otherwise than before", () => {
    const { sink, contents } = residency();
    for (const token of [2, 4]) contents.held(ENDINGS, token, 5, HELD_ON_GPU);
    contents.learn({
      contentKeys: keys(10, 20),
      tokenKeys: keys(1, 2, 3, 4),
      ends: Uint32Array.of(2, 4),
    });
    expect(told(sink)).toEqual([endKey(10), endKey(20)]);
    contents.learn({
      contentKeys: keys(10, 20),
      tokenKeys: keys(1, 6, 7, 8),
      ends: Uint32Array.of(2, 4),
    });
    expect(told(sink)).toEqual([]);
  });

  it("agrees with what each content's blocks say, in any order of learning and telling", () => {
    const step = record({
      isLearned: boolean(),
      prompt: integer({ min: 1, max: 4 }),
      /** A template renders history otherwise. */
      variant: integer({ min: 0, max: 1 }),
      at: integer({ min: 1, max: 4 }),
      isEnd: boolean(),
    });
    assert(
      property(array(step, { maxLength: 60 }), (steps) => {
        const { sink, contents } = residency();
        const ends = new Set<number>();
        const spanOf = new Map<number, readonly number[]>();
        for (const { isLearned, prompt, variant, at, isEnd } of steps) {
          const tokens = [1, 2, 3, 4].map((n) => prompt * 10 + variant * 5 + n);
          if (isLearned) {
            const contentKeys = keys(1_000 + prompt, 2_000 + prompt);
            contents.learn({
              contentKeys,
              tokenKeys: keys(...tokens),
              ends: Uint32Array.of(at, 4),
            });
            // What other prompts with the same tokens did not share, this one's content does not end with.
            const last = spanOf.get(1_000 + prompt)?.at(-1) ?? 0;
            const known = tokens.indexOf(last) + 1;
            const end = known === 0 ? at : Math.min(at, known);
            spanOf.set(1_000 + prompt, tokens.slice(0, end));
            spanOf.set(2_000 + prompt, tokens.slice(Math.min(end, 3)));
          } else {
            const token = tokens[at - 1]!;
            contents.held(ENDINGS, token, 5, isEnd ? HELD_ON_GPU : NOT_HELD);
            if (isEnd) ends.add(token);
            else ends.delete(token);
          }
          const expected = [...spanOf]
            .filter(([, span]) => span.some((token) => ends.has(token)))
            .map(([content]) => endKey(content));
          expect(told(sink).toSorted()).toEqual(expected.toSorted());
        }
      }),
      { numRuns: 300 },
    );
  });
});
