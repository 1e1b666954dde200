// Where hits end by what an engine with a sliding window tells of its caches, against the hits that it has.

import { array, assert, boolean, integer, property, record } from "fast-check";
import { expect, it } from "vitest";
import { createFnvHasher } from "../../../../src/agents/simulator/model/block-hash.ts";
import { Engine } from "../../../../src/agents/simulator/model/engine.ts";
import type { Sequence } from "../../../../src/agents/simulator/model/sequence.ts";
import { TokenContent } from "../../../../src/agents/simulator/model/token-content.ts";
import { windowBlocksMin } from "../../../../src/agents/simulator/model/window-blocks.ts";
import { runnerConfig, withDefaults } from "../../../../src/agents/simulator/parameters.ts";
import type { KvBlocksRemoved } from "../../../../src/scheduler/kv/residency/kv-event.ts";
import { Rekeyer } from "../../../../src/scheduler/kv/residency/rekeyer.ts";
import { tokenBlockKeys } from "../../../../src/scheduler/kv/residency/token-keys.ts";
import { createRng } from "../../../../src/scheduler/support/rng.ts";

const HASHER = createFnvHasher("m", "");
const BLOCK = 16;
const WINDOW = 65;
const SHAPE = { tokens: WINDOW, blockSize: BLOCK };
const BATCH = { sequencesMax: 4, batchedTokensMax: 256 };

const WHOLE_GROUP = { index: 0, kind: "full_attention", slidingWindow: null } as const;
const WINDOW_GROUP = { index: 1, kind: "sliding_window", slidingWindow: WINDOW } as const;
type Group = typeof WHOLE_GROUP | typeof WINDOW_GROUP;

const words = (hash: bigint) => [Number(hash & 0xffff_ffffn), Number((hash >> 32n) & 0xffff_ffffn)];

/** An engine, what follows it, and the names of blocks that are held, and that end hits. */
function followed() {
  const held = new Set<string>();
  const ends = new Set<string>();
  const put = (set: Set<string>) => (low: number, high: number, isThere: boolean) =>
    void (isThere ? set.add(`${low}:${high}`) : set.delete(`${low}:${high}`));
  const rekeyer = new Rekeyer(
    0,
    { held: (_slot, low, high, holding) => put(held)(low, high, holding > 0) },
    {
      endings: {
        endsMarked: () => undefined,
        endsHit: (_slot, low, high, isEnd) => put(ends)(low, high, isEnd),
      },
    },
  );
  const stored = (group: Group) => (sequence: Sequence, first: number, end: number) => {
    const content = sequence.content as TokenContent;
    const hashes = content.hashes(end);
    rekeyer.stored({
      type: "stored",
      hashes: Uint32Array.from(hashes.slice(first, end).flatMap(words)),
      parent: first === 0 ? null : Uint32Array.from(words(hashes[first - 1]!)),
      tokens: content.tokens(first, end),
      blockSize: BLOCK,
      loraName: null,
      tier: "gpu",
      extraKeys: null,
      group,
    });
  };
  const removed =
    ({ index: groupIndex }: Group) =>
    (hash: bigint) => {
      const hashes = Uint32Array.from(words(hash));
      rekeyer.removed({
        type: "removed",
        hashes,
        tier: "gpu",
        groupIndex,
      } satisfies KvBlocksRemoved);
    };
  const engine = new Engine(
    {
      ...runnerConfig(withDefaults({})).engine,
      ...BATCH,
      blockSize: BLOCK,
      blockCount: 64,
      modelLengthMax: 512,
      slidingWindow: { tokens: WINDOW, blockCount: windowBlocksMin(SHAPE, BATCH) + 10 },
    },
    {
      scheduled: () => {},
      finished: () => {},
      preempted: () => {},
      stepped: () => {},
      stored: () => {},
      blocksStored: stored(WHOLE_GROUP),
      windowStored: stored(WINDOW_GROUP),
      removed: removed(WHOLE_GROUP),
      windowRemoved: removed(WINDOW_GROUP),
    },
    createRng(1),
  );
  return { engine, held, ends };
}

it("an engine's hits end where its events say that they can", () => {
  const request = record({
    shared: integer({ min: 0, max: 12 }),
    own: integer({ min: 1, max: 150 }),
    family: integer({ min: 1, max: 4 }),
    output: integer({ min: 1, max: 40 }),
    isAtOnce: boolean(),
  });
  assert(
    property(array(request, { maxLength: 40 }), (requests) => {
      const { engine, held, ends } = followed();
      let nowMs = 0;
      for (const { shared, own, family, output, isAtOnce } of requests) {
        const promptTokenIds = Uint32Array.from({ length: shared * BLOCK + own }, (_, i) =>
          i < shared * BLOCK ? i : family * 1_000 + i,
        );
        const outputTokenIds = Uint32Array.from({ length: output }, (_, i) => family * 5_000 + i);
        const content = new TokenContent({ promptTokenIds, outputTokenIds }, HASHER, BLOCK);
        const keys = tokenBlockKeys({
          adapter: null,
          tokens: promptTokenIds,
          blockSize: BLOCK,
          extraKeys: [],
        });
        const names = Array.from(
          { length: Math.floor((promptTokenIds.length - 1) / BLOCK) },
          (_, i) => `${keys[i * 2]}:${keys[i * 2 + 1]}`,
        );
        const gap = names.findIndex((name) => !held.has(name));
        const whole = gap < 0 ? names.length : gap;
        const told = names.slice(0, whole).findLastIndex((name) => ends.has(name)) + 1;
        const isIdle = engine.nextEventAtMs() === Infinity;
        const sequence = engine.submit(content, nowMs)!;
        if (isAtOnce) continue;
        while (engine.nextEventAtMs() !== Infinity)
          engine.advance((nowMs = engine.nextEventAtMs()));
        if (!isIdle) continue;
        // Blocks up to six before a hit's end are told of, too.
        expect(told).toBeGreaterThanOrEqual(sequence.cachedCount / BLOCK);
      }
    }),
    { numRuns: 400 },
  );
});
