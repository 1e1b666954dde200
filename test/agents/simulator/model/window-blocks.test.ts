// Engines of which some layers see a window of tokens only: where hits end, and what is told of both caches.

import { array, assert, boolean, integer, property, record } from "fast-check";
import { describe, expect, it } from "vitest";
import { createFnvHasher } from "../../../../src/agents/simulator/model/block-hash.ts";
import { Engine, type EngineConfig } from "../../../../src/agents/simulator/model/engine.ts";
import type { Sequence } from "../../../../src/agents/simulator/model/sequence.ts";
import { TokenContent } from "../../../../src/agents/simulator/model/token-content.ts";
import { windowBlocksMin } from "../../../../src/agents/simulator/model/window-blocks.ts";
import { createRng } from "../../../../src/scheduler/support/rng.ts";
import { withDefaults, runnerConfig } from "../../../../src/agents/simulator/parameters.ts";

const HASHER = createFnvHasher("m", "");
const BLOCK = 16;
/** Two blocks before a hit's end. */
const WINDOW = 33;

/** What can be found, as it was told: the number of copies by hash. */
class Told {
  readonly copies = new Map<bigint, number>();

  change(hash: bigint, by: 1 | -1): void {
    const count = (this.copies.get(hash) ?? 0) + by;
    if (count < 0) throw new Error("more were removed than were stored");
    if (count === 0) this.copies.delete(hash);
    else this.copies.set(hash, count);
  }
}

function createEngine(windowBlocks: number, changes: Partial<EngineConfig> = {}) {
  const told = { whole: new Told(), window: new Told() };
  const tell = (to: Told) => (sequence: Sequence, first: number, end: number) => {
    const hashes = sequence.content.hashes(end);
    for (let i = first; i < end; i++) to.change(hashes[i]!, 1);
  };
  const engine = new Engine(
    {
      ...runnerConfig(withDefaults({})).engine,
      blockSize: BLOCK,
      blockCount: 64,
      sequencesMax: 4,
      batchedTokensMax: 256,
      modelLengthMax: 512,
      slidingWindow: { tokens: WINDOW, blockCount: windowBlocks },
      ...changes,
    },
    {
      scheduled: () => {},
      finished: () => {},
      preempted: () => {},
      stepped: () => {},
      stored: () => {},
      blocksStored: tell(told.whole),
      windowStored: tell(told.window),
      removed: (hash) => told.whole.change(hash, -1),
      windowRemoved: (hash) => told.window.change(hash, -1),
    },
    createRng(1),
  );
  return { engine, told };
}

/** Tokens that begin with those of others, and go on as only they do. */
const branch = (shared: number, own: number, from: number) =>
  Uint32Array.from({ length: shared + own }, (_, i) => (i < shared ? i : from + i));

function run(engine: Engine, promptTokenIds: Uint32Array, nowMs: number): Sequence {
  // What a window leaves behind goes with the next token.
  const request = { promptTokenIds, outputTokenIds: Uint32Array.of(7, 8, 9) };
  const sequence = engine.submit(new TokenContent(request, HASHER, BLOCK), nowMs)!;
  while (engine.nextEventAtMs() !== Infinity) engine.advance(engine.nextEventAtMs());
  return sequence;
}

const LEAST = windowBlocksMin(
  { tokens: WINDOW, blockSize: BLOCK },
  { sequencesMax: 4, batchedTokensMax: 256 },
);

describe("an engine with a sliding window", () => {
  it("finds what a conversation has said, and its beginning for others, while there is room", () => {
    const { engine } = createEngine(64);
    run(engine, branch(160, 80, 1_000), 0);
    expect(run(engine, branch(160, 160, 1_000), 10_000).cachedCount).toBe(240);
    expect(run(engine, branch(160, 160, 2_000), 20_000).cachedCount).toBe(160);
  });

  it("finds nothing of what is all there where its window is gone", () => {
    const { engine } = createEngine(LEAST);
    run(engine, branch(160, 80, 1_000), 0);
    // Others need the room that windows have left behind: first what was left first.
    for (let n = 0; n < 2; n++) run(engine, branch(0, 200, 10_000 * (n + 2)), 10_000 * (n + 1));
    const own = run(engine, branch(160, 160, 1_000), 40_000);
    const other = run(engine, branch(160, 160, 2_000), 50_000);
    expect(engine.cache.match(own.content.hashes(15), 15)).toHaveLength(15);
    expect(own.cachedCount).toBe(240);
    // A window that begins with the prompt is whole with less.
    expect(other.cachedCount).toBeLessThan(2 * BLOCK);
  });

  it("tells what is in both caches, and hits end where the window can be found", () => {
    const arrival = record({
      shared: integer({ min: 0, max: 10 }),
      own: integer({ min: 1, max: 200 }),
      family: integer({ min: 1, max: 3 }),
      isAborted: boolean(),
    });
    assert(
      property(array(arrival, { maxLength: 25 }), (arrivals) => {
        const { engine, told } = createEngine(LEAST);
        let nowMs = 0;
        for (const { shared, own, family, isAborted } of arrivals) {
          const promptTokenIds = branch(shared * BLOCK, own, family * 1_000);
          const request = { promptTokenIds, outputTokenIds: branch(0, 30, family * 5_000) };
          const content = new TokenContent(request, HASHER, BLOCK);
          // At once with others, or after them.
          const sequence = engine.submit(content, nowMs)!;
          if (isAborted) engine.abort(sequence, nowMs);
          else if (own % 2 === 0) continue;
          const count = Math.floor((promptTokenIds.length - 1) / BLOCK);
          const hashes = content.hashes(count).slice(0, count);
          while (engine.nextEventAtMs() !== Infinity)
            engine.advance((nowMs = engine.nextEventAtMs()));
          for (const [cache, { copies }] of [
            [engine.cache, told.whole],
            [engine.windowCache!, told.window],
          ] as const) {
            expect(new Set(copies.keys())).toEqual(new Set(cache.findable()));
          }
          const whole = hashes.findIndex((hash) => !told.whole.copies.has(hash));
          let end = whole < 0 ? hashes.length : whole;
          const isWindow = (hash: bigint) => told.window.copies.has(hash);
          while (end > 0 && !hashes.slice(Math.max(0, end - 2), end).every(isWindow)) end--;
          expect(run(engine, promptTokenIds, nowMs).cachedCount).toBe(end * BLOCK);
        }
        for (let events = 0; engine.nextEventAtMs() !== Infinity && events < 10_000; events++) {
          engine.advance(engine.nextEventAtMs());
        }
        expect([engine.cache.inUseCount, engine.windowCache!.inUseCount]).toEqual([0, 0]);
        expect(engine.forgetCached()).toBe(true);
        expect([...engine.windowCache!.findable()]).toEqual([]);
      }),
      { numRuns: 150 },
    );
  });
});
