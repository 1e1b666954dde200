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

  it("refuses to release a block twice", () => {
    const { cache } = createCache(2);
    const blocks = cache.reserve([], 1)!;
    cache.release(blocks);
    expect(() => cache.release(blocks)).toThrow(/as often as it was reserved/);
  });
});

/** The same contract with plain arrays: what KvCache is checked against. */
class NaiveCache {
  /** Free blocks' content, oldest first. */
  free: (BlockHash | undefined)[];
  used: { hash: BlockHash | undefined; references: number }[] = [];
  removed: BlockHash[] = [];

  constructor(size: number) {
    this.free = Array.from({ length: size }, () => undefined);
  }

  has(hash: BlockHash): boolean {
    return this.free.includes(hash) || this.used.some((block) => block.hash === hash);
  }

  /** The blocks of a prompt, or undefined if they do not fit. */
  begin(
    hashes: readonly BlockHash[],
  ): { hash: BlockHash | undefined; references: number }[] | undefined {
    let hitCount = 0;
    while (hitCount < hashes.length && this.has(hashes[hitCount]!)) hitCount++;
    const hits = hashes.slice(0, hitCount);
    const revived = hits.filter((hash) => this.free.includes(hash)).length;
    if (hashes.length - hitCount > this.free.length - revived) return undefined;
    const blocks = hits.map((hash) => {
      let block = this.used.find((candidate) => candidate.hash === hash);
      if (block === undefined) {
        this.free.splice(this.free.indexOf(hash), 1);
        block = { hash, references: 0 };
        this.used.push(block);
      }
      block.references++;
      return block;
    });
    const fresh = hashes.slice(hitCount).map((hash) => {
      const evicted = this.free.shift();
      if (evicted !== undefined) this.removed.push(evicted);
      return { hash, block: { hash: undefined as BlockHash | undefined, references: 1 } };
    });
    for (const { hash, block } of fresh) {
      if (!this.has(hash)) block.hash = hash;
      this.used.push(block);
      blocks.push(block);
    }
    return blocks;
  }

  end(blocks: readonly { hash: BlockHash | undefined; references: number }[]): void {
    for (const block of blocks.toReversed()) {
      block.references--;
      if (block.references > 0) continue;
      this.used.splice(this.used.indexOf(block), 1);
      this.free.push(block.hash);
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

it("agrees with a naive cache whatever begins and ends", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 12 }),
      fc.array(commandArb, { maxLength: 60 }),
      (size, commands) => {
        const removed: BlockHash[] = [];
        const cache = new KvCache(size, {
          stored: () => {},
          removed: (hash) => removed.push(hash),
        });
        const naive = new NaiveCache(size);
        const open: { blocks: number[]; twin: NonNullable<ReturnType<NaiveCache["begin"]>> }[] = [];
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
        for (const { blocks } of open) cache.release(blocks);
        expect(cache.inUseCount).toBe(0);
      },
    ),
    { numRuns: 300 },
  );
});
