// Where hits can end in the cache of a hybrid model, against a naive account of each group's cache.

import { array, assert, boolean, integer, property, record } from "fast-check";
import { describe, expect, it } from "vitest";
import {
  blocksNeeded,
  HIT_END_COST_BYTES,
  HIT_ENDS_LIMITS,
} from "../../../../src/scheduler/kv/residency/hit-ends.ts";
import type { EndingSink } from "../../../../src/scheduler/kv/residency/holding.ts";
import type {
  KvBlocksStored,
  KvCacheGroup,
} from "../../../../src/scheduler/kv/residency/kv-event.ts";
import { Rekeyer } from "../../../../src/scheduler/kv/residency/rekeyer.ts";
import { tokenBlockKeys } from "../../../../src/scheduler/kv/residency/token-keys.ts";
import { RecordingSink } from "./holding-sink.ts";

const SLOT = 5;
/** 96 tokens of reach are three blocks. */
const BLOCK = 32;
const REACH = 3;
const WHOLE: KvCacheGroup = { index: 0, kind: "full_attention", slidingWindow: null };
/** Three blocks before a hit's end. */
const WINDOW: KvCacheGroup = { index: 1, kind: "sliding_window", slidingWindow: 97 };
const STATE: KvCacheGroup = { index: 2, kind: "mamba", slidingWindow: null };
/** One block before a hit's end, as a state, which has no reach. */
const SHORT_WINDOW: KvCacheGroup = { index: 2, kind: "sliding_window", slidingWindow: 33 };

/** A block by the way to it: a path of digits, each a block. */
type Path = string;

const hashOf = (path: Path) => [Number.parseInt(`1${path}`, 10), 7] as const;
const tokensOf = (path: Path) =>
  Uint32Array.from({ length: path.length * BLOCK }, (_, i) =>
    i % BLOCK === 0 ? Number(path[Math.floor(i / BLOCK)]) + 1 : 99,
  );
const nameOf = (path: Path) => {
  const all = { adapter: null, tokens: tokensOf(path), blockSize: BLOCK, extraKeys: [] };
  const keys = tokenBlockKeys(all);
  return `${keys.at(-2)}:${keys.at(-1)}`;
};

/** The last block of a path. */
function stored(path: Path, group: KvCacheGroup): KvBlocksStored {
  return {
    type: "stored",
    hashes: Uint32Array.from(hashOf(path)),
    parent: path.length === 1 ? null : Uint32Array.from(hashOf(path.slice(0, -1))),
    tokens: tokensOf(path).slice(-BLOCK),
    blockSize: BLOCK,
    loraName: null,
    tier: "gpu",
    extraKeys: null,
    group,
  };
}

const removed = (path: Path, { index: groupIndex }: KvCacheGroup) =>
  ({
    type: "removed",
    hashes: Uint32Array.from(hashOf(path)),
    tier: "gpu",
    groupIndex,
  }) as const;

class RecordingEnds implements EndingSink {
  readonly names = new Set<string>();
  isMarked = false;

  endsMarked(slot: number, isMarked: boolean): void {
    if (slot !== SLOT || this.isMarked === isMarked) throw new Error("no change of the mark");
    this.isMarked = isMarked;
  }

  endsHit(slot: number, low: number, high: number, isEnd: boolean): void {
    const name = `${low}:${high}`;
    if (slot !== SLOT || this.names.has(name) === isEnd) throw new Error(`no change: ${name}`);
    if (isEnd) this.names.add(name);
    else this.names.delete(name);
  }
}

function rekeyer(bytesMax?: number) {
  const endings = new RecordingEnds();
  const options = { endings, ...(bytesMax === undefined ? {} : { bytesMax }) };
  const sink = new RecordingSink();
  return { endings, sink, cache: new Rekeyer(SLOT, sink, options) };
}

/** What is in each group's cache, and what follows. */
class NaiveGroups {
  readonly counts = new Map<string, number>();
  readonly paths = new Set<Path>();
  readonly #groups: readonly KvCacheGroup[];

  constructor(groups: readonly KvCacheGroup[]) {
    this.#groups = groups;
  }

  has(path: Path, { index }: KvCacheGroup): boolean {
    return (this.counts.get(`${index}/${path}`) ?? 0) > 0;
  }

  add(path: Path, { index }: KvCacheGroup, by: number): void {
    this.paths.add(path);
    this.counts.set(`${index}/${path}`, (this.counts.get(`${index}/${path}`) ?? 0) + by);
  }

  /** As an engine would find it, but for what comes before, which a look-up of all blocks sees. */
  #endsHit(path: Path): boolean {
    return this.#groups.every((group) => {
      const needed = blocksNeeded(group, BLOCK) ?? 1;
      const from = Math.max(0, path.length - needed);
      const ends = Array.from({ length: path.length - from }, (_, i) =>
        path.slice(0, from + i + 1),
      );
      return ends.every((each) => this.has(each, group));
    });
  }

  told(): Set<string> {
    const ends = [...this.paths].filter((path) => this.#endsHit(path));
    const reach = this.#groups.includes(STATE) ? 0 : REACH;
    const near = [...this.paths].filter((path) =>
      ends.some((end) => end.startsWith(path) && end.length <= path.length + reach),
    );
    return new Set(near.map(nameOf));
  }
}

describe("HitEnds", () => {
  it("says how many blocks a group needs before a hit's end", () => {
    const needed = (kind: string | null, slidingWindow: number | null, blockSize = 16) =>
      blocksNeeded({ kind, slidingWindow }, blockSize);
    expect(needed("sliding_window", 128)).toBe(8);
    expect(needed("sliding_window", 130)).toBe(9);
    expect(needed("sliding_window_mla", 1)).toBe(1);
    expect(needed("mamba", null)).toBe(1);
    expect(needed("sliding_window", 2 ** 20)).toBe(HIT_ENDS_LIMITS.runMax);
    expect([
      needed("sliding_window", null),
      needed("full_attention", null),
      needed("chunked_local_attention", 8_192),
      needed("sliding_window", 128, 0),
    ]).toEqual([undefined, undefined, undefined, undefined]);
  });

  it("tells nothing of models whose groups need all of a prefix", () => {
    const { endings, cache } = rekeyer();
    cache.stored(stored("1", WHOLE));
    cache.stored({ ...stored("2", WHOLE), group: null });
    expect(endings.isMarked).toBe(false);
    expect(endings.names.size).toBe(0);
  });

  it("has no hit end where a window has gone on, and the conversation's own end", () => {
    const { endings, cache } = rekeyer();
    const long = "1111111111";
    for (let end = 1; end <= long.length; end++) {
      cache.stored(stored(long.slice(0, end), WHOLE));
      cache.stored(stored(long.slice(0, end), WINDOW));
      if (end > 3) cache.removed(removed(long.slice(0, end - 3), WINDOW));
    }
    expect(endings.isMarked).toBe(true);
    // The last three blocks are held: a hit ends with the last, which is within reach of three more.
    const ends = [7, 8, 9, 10].map((end) => nameOf(long.slice(0, end)));
    expect(endings.names).toEqual(new Set(ends));
    cache.removed(removed(long, WHOLE));
    expect(endings.names.size).toBe(0);
  });

  const step = record({
    path: array(integer({ min: 0, max: 1 }), { minLength: 1, maxLength: 5 }),
    group: integer({ min: 0, max: 2 }),
    isStored: boolean(),
    whole: integer({ min: 0, max: 30 }),
  });

  it.each([
    ["windows", [WHOLE, WINDOW, SHORT_WINDOW]],
    ["states", [WHOLE, WINDOW, STATE]],
  ])("ends hits where a naive account of each group's cache has them end, with %s", (_, groups) => {
    assert(
      property(array(step, { maxLength: 120, size: "max" }), (steps) => {
        const naive = new NaiveGroups(groups);
        const { endings, sink, cache } = rekeyer();
        // All are known from the beginning on.
        for (const group of groups) {
          cache.stored(stored("9", group));
          naive.add("9", group, 1);
        }
        for (const { path: digits, group: at, isStored, whole } of steps) {
          const path = digits.join("");
          const group = groups[at]!;
          if (whole === 0) {
            cache.cleared();
            naive.counts.clear();
          } else if (isStored) {
            // What is before it was computed before, in any group.
            for (let end = 1; end <= path.length; end++) {
              const each = path.slice(0, end);
              if (naive.paths.has(each) && end < path.length) continue;
              cache.stored(stored(each, group));
              naive.add(each, group, 1);
            }
          } else if (naive.has(path, group)) {
            cache.removed(removed(path, group));
            naive.add(path, group, -1);
          }
          expect(endings.names).toEqual(naive.told());
        }
        const before = [...endings.names];
        endings.names.clear();
        endings.isMarked = false;
        sink.holdings.clear();
        cache.tellAgain();
        expect(endings.names).toEqual(new Set(before));
        cache.begunAnew();
        expect([endings.isMarked, endings.names.size]).toEqual([false, 0]);
      }),
      { numRuns: 60 },
    );
  });

  it("speaks for no block before a state, which serves its own place only, also one that is known of late", () => {
    const { endings, cache } = rekeyer();
    const path = "12345";
    for (let end = 1; end <= path.length; end++) {
      cache.stored(stored(path.slice(0, end), WHOLE));
      cache.stored({
        ...stored(path.slice(0, end), WHOLE),
        tier: "cpu",
        tokens: new Uint32Array(),
      });
      cache.removed(removed(path.slice(0, end), WHOLE));
      if (end === 1) cache.stored(stored("1", WINDOW));
    }
    // Below the GPUs: everything ends a hit, by itself and for what is before it.
    for (let end = 1; end < path.length; end++) {
      cache.removed({ ...removed(path.slice(0, end), WHOLE), tier: "cpu" });
    }
    const near = [2, 3, 4, 5].map((end) => nameOf(path.slice(0, end)));
    expect(endings.names).toEqual(new Set(near));
    cache.stored(stored("1", STATE));
    expect(endings.names).toEqual(new Set([nameOf(path)]));
    cache.stored(stored(path, WHOLE));
    expect(endings.names).toEqual(new Set());
    cache.stored(stored(path, STATE));
    for (let end = 3; end <= path.length; end++) cache.stored(stored(path.slice(0, end), WINDOW));
    expect(endings.names).toEqual(new Set([nameOf(path)]));
  });

  it("stays within its bytes, and tells of nothing that it has forgotten", () => {
    const blocks = 40;
    const { endings, cache } = rekeyer(blocks * (42 + HIT_END_COST_BYTES));
    for (let n = 0; n < 3 * blocks; n++) {
      const path = `${1 + (n % 9)}${String(n).padStart(3, "0")}`;
      for (let end = 1; end <= path.length; end++) {
        for (const group of [WHOLE, WINDOW]) {
          cache.stored(stored(path.slice(0, end), group));
          cache.removed(removed(path.slice(0, end), group));
        }
      }
      expect(cache.knownBlocks).toBeLessThanOrEqual(blocks);
    }
    expect(endings.names.size).toBe(0);
  });

  describe("of a group that is known of late", () => {
    const bytesMax = 1024 * 1024;
    const inBytes = (cache: Rekeyer) => expect(cache.byteLength).toBeLessThanOrEqual(bytesMax);
    /** Prompts of one block, as many as there is room for and more; so many of the last stay held. */
    function fill(
      cache: Rekeyer,
      blocks: number,
      held: number,
      group: KvCacheGroup | null = WHOLE,
    ) {
      for (let n = 0; n < blocks; n++) {
        const hashes = Uint32Array.of(n, 3);
        const tokens = new Uint32Array(BLOCK).fill(n);
        cache.stored({ ...stored("1", WHOLE), hashes, tokens, group });
        if (n < blocks - held) cache.removed({ ...removed("1", WHOLE), hashes });
      }
    }

    it("forgets what is not held, from the oldest on, and stays within its bytes", () => {
      const { endings, sink, cache } = rekeyer(bytesMax);
      fill(cache, 22_000, 500);
      const before = cache.knownBlocks;
      const held = new Map(sink.holdings);
      cache.stored(stored("1", WHOLE));
      cache.stored(stored("1", WINDOW));
      expect(endings.names.size).toBe(1);
      expect(cache.knownBlocks).toBeLessThan(before / 2);
      expect(cache.lacksBlocks).toBe(false);
      expect([...held.keys()].every((name) => sink.holdings.has(name))).toBe(true);
      // The newest that is not held is known still, and what is held can be taken back.
      for (const n of [21_499, 21_999]) {
        const hashes = Uint32Array.of(n, 3);
        cache.stored({ ...stored("1", WHOLE), hashes, tokens: new Uint32Array() });
        cache.removed({ ...removed("1", WHOLE), hashes });
      }
      expect([cache.counts.unknown, cache.heldBlocks]).toEqual([0, 501]);
      for (let n = 0; n < 22_000; n++) {
        const hashes = Uint32Array.of(n, 4);
        const tokens = new Uint32Array(BLOCK).fill(n + 100_000);
        for (const group of [WHOLE, WINDOW]) {
          cache.stored({ ...stored("1", group), hashes, tokens });
          cache.removed({ ...removed("1", group), hashes });
        }
      }
      inBytes(cache);
    });

    it("is left out where too much is held, which is said, and has room later", () => {
      const { endings, cache } = rekeyer(bytesMax);
      fill(cache, 20_000, 20_000);
      cache.stored(stored("1", WHOLE));
      cache.stored(stored("1", WINDOW));
      expect([endings.isMarked, cache.lacksBlocks, cache.counts.otherGroup]).toEqual([
        false,
        true,
        1,
      ]);
      inBytes(cache);
      cache.cleared();
      cache.stored(stored("1", WHOLE));
      cache.stored(stored("1", WINDOW));
      expect([endings.isMarked, cache.lacksBlocks]).toEqual([true, false]);
    });

    it("gives its bytes back with a new process that has no such group", () => {
      const { cache } = rekeyer(bytesMax);
      const { cache: fresh } = rekeyer(bytesMax);
      for (const group of [WHOLE, WINDOW]) cache.stored(stored("1", group));
      cache.begunAnew();
      for (const each of [cache, fresh]) fill(each, 30_000, 30_000, null);
      expect(cache.heldBlocks).toBe(fresh.heldBlocks);
      cache.begunAnew();
      expect(cache.byteLength).toBeLessThan(bytesMax / 4);
    });
  });

  it("knows again what is behind a block that was forgotten, once that is announced anew", () => {
    const { endings, cache } = rekeyer(8 * (42 + HIT_END_COST_BYTES));
    for (const path of ["1", "11"]) {
      for (const group of [WHOLE, SHORT_WINDOW]) cache.stored(stored(path, group));
    }
    for (const group of [SHORT_WINDOW, WHOLE]) cache.removed(removed("1", group));
    expect(endings.names).toEqual(new Set(["1", "11"].map(nameOf)));
    for (let n = 0; n < 8; n++) {
      cache.stored(stored(`${2 + n}`, WHOLE));
      cache.removed(removed(`${2 + n}`, WHOLE));
    }
    expect(endings.names).toEqual(new Set([nameOf("11")]));
    cache.stored(stored("1", WHOLE));
    expect(endings.names).toEqual(new Set([nameOf("11")]));
    cache.stored(stored("11", WHOLE));
    expect(endings.names).toEqual(new Set(["1", "11"].map(nameOf)));
  });

  it("looks at no window whose blocks are of another length, and at no more groups than it has room for", () => {
    const { cache } = rekeyer();
    cache.stored(stored("1", WHOLE));
    cache.stored({ ...stored("1", WINDOW), blockSize: 16, tokens: tokensOf("1").slice(0, 16) });
    expect(cache.counts.otherGroup).toBe(1);
    for (let i = 0; i <= HIT_ENDS_LIMITS.groupsMax; i++) {
      cache.stored(stored("1", { ...WINDOW, index: 10 + i }));
    }
    expect(cache.counts.otherGroup).toBe(2);
  });

  it("takes groups anew that turn out to be of another kind", () => {
    const { endings, cache } = rekeyer();
    cache.stored(stored("1", WHOLE));
    cache.stored(stored("1", WINDOW));
    expect(endings.names.size).toBe(1);
    cache.stored(stored("2", { ...WHOLE, index: WINDOW.index }));
    expect([endings.isMarked, endings.names.size, cache.heldBlocks]).toEqual([false, 0, 1]);
  });
});
