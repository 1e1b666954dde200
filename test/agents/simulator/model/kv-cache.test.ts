import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { BlockHash } from "../../../../src/agents/simulator/model/block-hash.ts";
import { KvCache } from "../../../../src/agents/simulator/model/kv-cache.ts";

function createCache(size: number) {
  const events: string[] = [];
  const cache = new KvCache(size, {
    stored: (hash) => events.push(`+${hash}`),
    removed: (hash) => events.push(`-${hash}`),
  });
  return { cache, events };
}

/** Runs a prompt of these blocks to its end, as the engine would. */
function runPrompt(cache: KvCache, hashes: BlockHash[]): number {
  const hits = cache.match(hashes);
  const fresh = cache.reserve(hits, hashes.length - hits.length)!;
  const blocks = [...hits, ...fresh];
  blocks.forEach((block, i) => cache.store(block, hashes[i]!));
  cache.release(blocks);
  return hits.length;
}

describe("KvCache", () => {
  it("finds the longest prefix without a gap", () => {
    const { cache } = createCache(8);
    runPrompt(cache, [1n, 2n, 3n]);
    expect(cache.match([1n, 2n, 9n, 3n])).toHaveLength(2);
    expect(cache.match([2n, 3n])).toHaveLength(2);
    expect(cache.match([9n, 1n])).toHaveLength(0);
  });

  it("evicts the leaf before what it hangs on, and the oldest prompt first", () => {
    const { cache, events } = createCache(4);
    runPrompt(cache, [1n, 2n]);
    runPrompt(cache, [3n, 4n]);
    events.length = 0;
    runPrompt(cache, [5n]);
    expect(events).toEqual(["-2", "+5"]);
    expect(cache.match([1n, 2n])).toHaveLength(1);
  });

  it("keeps what was used lately", () => {
    const { cache } = createCache(4);
    runPrompt(cache, [1n, 2n]);
    runPrompt(cache, [3n, 4n]);
    runPrompt(cache, [1n, 2n]);
    runPrompt(cache, [5n, 6n]);
    expect(cache.match([1n, 2n])).toHaveLength(2);
    expect(cache.match([3n, 4n])).toHaveLength(0);
  });

  it("refuses what does not fit and changes nothing", () => {
    const { cache, events } = createCache(4);
    runPrompt(cache, [1n, 2n]);
    const held = cache.reserve([], 2)!;
    const hits = cache.match([1n, 2n]);
    events.length = 0;
    expect(cache.reserve(hits, 1)).toBeUndefined();
    expect(cache.inUseCount).toBe(2);
    expect(events).toEqual([]);
    expect(cache.reserve(hits, 0)).toEqual([]);
    expect(cache.inUseCount).toBe(4);
    cache.release(held);
    cache.release(hits);
    expect(cache.inUseCount).toBe(0);
  });

  it("finds the next copy when one is evicted, in the order they were named", () => {
    const removed: bigint[] = [];
    const listener = { stored: () => {}, removed: (hash: bigint) => removed.push(hash) };
    const cache = new KvCache(3, listener, new Map<bigint, number>(), true);
    const [a, b, c] = cache.reserve([], 3)!;
    for (const block of [a!, b!, c!]) expect(cache.store(block, 1n)).toBe(true);
    expect([cache.findableCount, ...cache.findable()]).toEqual([1, 1n, 1n, 1n]);
    cache.release([a!]);
    cache.reserve([], 1);
    expect(removed).toEqual([1n]);
    expect(cache.match([1n])).toEqual([b]);
    // A copy goes that is not the one to be found.
    cache.release([c!]);
    cache.reserve([], 1);
    expect(cache.match([1n])).toEqual([b]);
    cache.release([b!]);
    cache.reserve([], 1);
    expect([cache.findableCount, removed.length]).toEqual([0, 3]);
  });

  it("forgets copies with everything else", () => {
    const listener = { stored: () => {}, removed: () => {} };
    const cache = new KvCache(2, listener, new Map<bigint, number>(), true);
    const fill = () => {
      const blocks = cache.reserve([], 2)!;
      for (const block of blocks) cache.store(block, 1n);
      cache.release(blocks);
    };
    fill();
    expect(cache.clear()).toBe(true);
    expect(cache.match([1n])).toEqual([]);
    const [block] = cache.reserve([], 1)!;
    cache.store(block!, 1n);
    cache.release([block!]);
    // The second block is the older one, and empty.
    cache.release(cache.reserve([], 2)!);
    expect(cache.findableCount).toBe(0);
  });

  it("refuses to release a block twice", () => {
    const { cache } = createCache(2);
    const blocks = cache.reserve([], 1)!;
    cache.release(blocks);
    expect(() => cache.release(blocks)).toThrow(/as often as it was reserved/);
  });
});

interface NaiveBlock {
  hash: BlockHash | undefined;
  /** When it was given its hash, among the others. */
  namedAt: number;
  references: number;
}

/** The same contract with plain arrays: what KvCache is checked against. */
class NaiveCache {
  /** Oldest first. */
  free: NaiveBlock[];
  used: NaiveBlock[] = [];
  removed: BlockHash[] = [];
  readonly #tracksCopies: boolean;
  #namings = 0;

  constructor(size: number, tracksCopies: boolean) {
    this.free = Array.from({ length: size }, () => ({
      hash: undefined,
      namedAt: 0,
      references: 0,
    }));
    this.#tracksCopies = tracksCopies;
  }

  /** Of several copies the one that was named first. */
  find(hash: BlockHash): NaiveBlock | undefined {
    const copies = [...this.free, ...this.used].filter((block) => block.hash === hash);
    return copies.toSorted((a, b) => a.namedAt - b.namedAt)[0];
  }

  /** The blocks of a prompt, or undefined if they do not fit. */
  begin(hashes: readonly BlockHash[]): NaiveBlock[] | undefined {
    let hitCount = 0;
    while (hitCount < hashes.length && this.find(hashes[hitCount]!) !== undefined) hitCount++;
    const hits = hashes.slice(0, hitCount).map((hash) => this.find(hash)!);
    const revived = hits.filter((block) => this.free.includes(block)).length;
    if (hashes.length - hitCount > this.free.length - revived) return undefined;
    for (const block of hits) {
      if (block.references === 0) {
        this.free.splice(this.free.indexOf(block), 1);
        this.used.push(block);
      }
      block.references++;
    }
    const fresh = hashes.slice(hitCount).map(() => {
      const block = this.free.shift()!;
      if (block.hash !== undefined) this.removed.push(block.hash);
      block.hash = undefined;
      block.references = 1;
      return block;
    });
    fresh.forEach((block, i) => {
      const hash = hashes[hitCount + i]!;
      if (!this.#tracksCopies && this.find(hash) !== undefined) return;
      block.hash = hash;
      block.namedAt = ++this.#namings;
    });
    this.used.push(...fresh);
    return [...hits, ...fresh];
  }

  end(blocks: readonly NaiveBlock[]): void {
    for (const block of blocks.toReversed()) {
      block.references--;
      if (block.references > 0) continue;
      this.used.splice(this.used.indexOf(block), 1);
      this.free.push(block);
    }
  }
}

// A prompt is a path in a small tree, so that prompts share prefixes: [1, 2] has the blocks "1", "1/2".
const promptArb = fc.array(fc.integer({ min: 1, max: 3 }), { minLength: 1, maxLength: 5 });
const commandArb = fc.oneof(
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("begin" as const), path: promptArb }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("end" as const), which: fc.nat(20) }) },
);

function pathHashes(path: readonly number[]): BlockHash[] {
  let hash = 0n;
  return path.map((step) => (hash = hash * 4n + BigInt(step)));
}

it.for([true, false])("agrees with a naive cache, copies tracked: %s", (tracksCopies) => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 12 }),
      fc.array(commandArb, { maxLength: 60 }),
      (size, commands) => {
        const removed: BlockHash[] = [];
        const listener = { stored: () => {}, removed: (hash: bigint) => removed.push(hash) };
        const cache = new KvCache(size, listener, new Map<bigint, number>(), tracksCopies);
        const naive = new NaiveCache(size, tracksCopies);
        const open: { blocks: number[]; twin: NaiveBlock[] }[] = [];
        for (const command of commands) {
          if (command.kind === "begin") {
            const hashes = pathHashes(command.path);
            const hits = cache.match(hashes);
            const fresh = cache.reserve(hits, hashes.length - hits.length);
            const twin = naive.begin(hashes);
            if ((fresh === undefined) !== (twin === undefined)) throw new Error("only one fits");
            if (fresh === undefined || twin === undefined) continue;
            const blocks = [...hits, ...fresh];
            for (let i = hits.length; i < blocks.length; i++) cache.store(blocks[i]!, hashes[i]!);
            open.push({ blocks, twin });
          } else if (open.length > 0) {
            const [ended] = open.splice(command.which % open.length, 1);
            cache.release(ended!.blocks);
            naive.end(ended!.twin);
          }
          expect(cache.inUseCount).toBe(naive.used.length);
          expect(cache.inUseCount + naive.free.length).toBe(size);
          expect(removed).toEqual(naive.removed);
        }
        const named = naive.free.concat(naive.used).flatMap(({ hash }) => hash ?? []);
        expect(Array.from(cache.findable(), String).toSorted()).toEqual(
          named.map(String).toSorted(),
        );
        expect(cache.findableCount).toBe(new Set(named).size);
        expect(cache.clear()).toBe(open.length === 0);
        for (const { blocks } of open) cache.release(blocks);
        expect(cache.inUseCount).toBe(0);
        expect(cache.clear()).toBe(true);
        expect([cache.findableCount, ...cache.findable()]).toEqual([0]);
      },
    ),
    { numRuns: 300 },
  );
});
