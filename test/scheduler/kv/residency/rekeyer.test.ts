import {
  constant,
  constantFrom,
  integer,
  oneof,
  property,
  array,
  assert,
  record,
} from "fast-check";
import { beforeEach, describe, expect, it } from "vitest";
import { ADAPTERS_MAX } from "../../../../src/scheduler/kv/residency/adapter-indexes.ts";
import { ANNOUNCEMENT_LIMITS } from "../../../../src/scheduler/kv/residency/announcements.ts";
import { HELD_BELOW, HELD_ON_GPU } from "../../../../src/scheduler/kv/residency/holding.ts";
import type {
  KvBlocksStored,
  KvExtraKey,
  KvTier,
} from "../../../../src/scheduler/kv/residency/kv-event.ts";
import { Rekeyer } from "../../../../src/scheduler/kv/residency/rekeyer.ts";
import { tokenBlockKeys } from "../../../../src/scheduler/kv/residency/token-keys.ts";
import { RecordingSink } from "./holding-sink.ts";

const SLOT = 3;
const TOKENS = Uint32Array.from({ length: 64 }, (_, i) => i + 1);

/** Engine hashes are opaque: any numbers do. */
const hashes = (...ids: number[]) => Uint32Array.from(ids.flatMap((id) => [id, 0]));

function stored(change: Partial<KvBlocksStored> = {}): KvBlocksStored {
  return {
    type: "stored",
    hashes: hashes(1, 2),
    parent: null,
    tokens: TOKENS.slice(0, 32),
    blockSize: 16,
    loraName: null,
    tier: "gpu",
    extraKeys: null,
    group: null,
    ...change,
  };
}

const removed = (ids: number[], tier: KvTier = "gpu", groupIndex: number | null = null) =>
  ({ type: "removed", hashes: hashes(...ids), tier, groupIndex }) as const;

/** Names, as the sink keeps them, of the first blocks of TOKENS. */
function names(
  blocks: number,
  change: { adapter?: string; extraKeys?: readonly (readonly KvExtraKey[])[] } = {},
) {
  const keys = tokenBlockKeys({
    adapter: null,
    tokens: TOKENS,
    blockSize: 16,
    extraKeys: [],
    ...change,
  });
  return Array.from({ length: blocks }, (_, i) => `${SLOT}/${keys[i * 2]}:${keys[i * 2 + 1]}`);
}

describe("Rekeyer", () => {
  let sink: RecordingSink;
  let rekeyer: Rekeyer;
  beforeEach(() => {
    sink = new RecordingSink();
    rekeyer = new Rekeyer(SLOT, sink);
  });
  const held = () => [...sink.holdings.keys()];

  it("gives blocks the keys of their tokens, through parents of earlier events", () => {
    rekeyer.stored(stored());
    rekeyer.stored(stored({ hashes: hashes(3, 4), parent: hashes(2), tokens: TOKENS.slice(32) }));
    expect(held()).toEqual(names(4));
    rekeyer.removed(removed([4, 3]));
    expect(held()).toEqual(names(2));
    expect(rekeyer.heldBlocks).toBe(2);
  });

  it("does not claim blocks whose parent is unknown or of another adapter", () => {
    rekeyer.stored(stored({ hashes: hashes(3, 4), parent: hashes(2) }));
    rekeyer.stored(stored());
    rekeyer.stored(stored({ hashes: hashes(5, 6), parent: hashes(2), loraName: "my-lora" }));
    expect(held()).toEqual(names(2));
    expect(rekeyer.counts.orphaned).toBe(4);
  });

  it("folds in adapter, media and salt once", () => {
    const extraKeys = [
      [
        { kind: "media", identifier: "image-a", offset: 2 },
        { kind: "text", text: "salt" },
      ],
      [{ kind: "media", identifier: "image-a", offset: -14 }],
    ] as const;
    rekeyer.stored(stored({ loraName: "my-lora", extraKeys }));
    expect(held()).toEqual(names(2, { adapter: "my-lora", extraKeys }));
  });

  it("counts blocks with media of which the engine tells no place; a salt is none", () => {
    const text = (value: string) => [{ kind: "text", text: value }] as const;
    rekeyer.stored(stored({ extraKeys: [text("salt"), text("image-a")] }));
    expect(rekeyer.counts.unplaced).toBe(1);
    expect(held()).toEqual(names(2, { extraKeys: [text("salt"), text("image-a")] }));
    const behind = { hashes: hashes(3), parent: hashes(2), tokens: TOKENS.slice(32, 48) };
    rekeyer.stored(stored({ ...behind, extraKeys: [text("image-a")] }));
    expect(rekeyer.counts.unplaced).toBe(2);
  });

  it("counts announcements, on each tier", () => {
    rekeyer.stored(stored());
    rekeyer.stored(
      stored({ hashes: hashes(2, 3), parent: hashes(1), tokens: TOKENS.slice(16, 48) }),
    );
    rekeyer.removed(removed([2]));
    expect(held()).toEqual(names(3));
    rekeyer.stored(
      stored({ hashes: hashes(1, 2), tokens: new Uint32Array(), blockSize: 0, tier: "cpu" }),
    );
    rekeyer.removed(removed([2, 1]));
    const [first, second, third] = names(3);
    expect(Object.fromEntries(sink.holdings)).toEqual({
      [first!]: HELD_BELOW,
      [second!]: HELD_BELOW,
      [third!]: HELD_ON_GPU,
    });
    rekeyer.removed(removed([1, 2], "cpu"));
    expect(held()).toEqual([third]);
    expect(rekeyer.counts.unknown).toBe(0);
  });

  it("resolves a lower tier's announcement after the block has left the GPU", () => {
    rekeyer.stored(stored());
    rekeyer.removed(removed([1, 2]));
    rekeyer.stored(stored({ tokens: new Uint32Array(), blockSize: 0, tier: "disk" }));
    expect(held()).toEqual(names(2));
    rekeyer.stored(
      stored({ hashes: hashes(8), tokens: new Uint32Array(), blockSize: 0, tier: "cpu" }),
    );
    expect(rekeyer.counts.unknown).toBe(1);
  });

  it("holds nothing once cleared, and still knows parents", () => {
    rekeyer.stored(stored());
    rekeyer.cleared();
    expect(held()).toEqual([]);
    rekeyer.removed(removed([1]));
    expect(rekeyer.counts.unknown).toBe(1);
    rekeyer.stored(stored({ hashes: hashes(3), parent: hashes(2), tokens: TOKENS.slice(32, 48) }));
    expect(held()).toEqual(names(3).slice(2));
  });

  const WINDOW = { index: 1, kind: "sliding_window", slidingWindow: 128 };
  const FULL = { index: 0, kind: "full_attention", slidingWindow: null };
  const MLA = { index: 2, kind: "mla_attention", slidingWindow: null };

  it("leaves out what no prefix needs or no endpoint owns, and counts it", () => {
    rekeyer.stored(stored({ group: WINDOW }));
    rekeyer.removed(removed([1], "gpu", 0));
    rekeyer.stored(stored({ tier: "storage" }));
    rekeyer.stored(stored({ tier: "unknown" }));
    rekeyer.stored(stored({ tokens: TOKENS.slice(0, 31) }));
    expect(held()).toEqual([]);
    rekeyer.stored(stored({ group: FULL }));
    rekeyer.stored(stored({ group: WINDOW }));
    rekeyer.removed(removed([1, 2], "gpu", 1));
    expect(held()).toEqual(names(2));
    rekeyer.removed(removed([1, 2], "gpu", 0));
    expect(held()).toEqual([]);
    expect(rekeyer.counts).toEqual({
      orphaned: 0,
      unknown: 0,
      otherTier: 4,
      otherGroup: 7,
      uneven: 2,
      conflicting: 0,
      leftOut: 0,
      unplaced: 0,
    });
  });

  it("holds a block that all groups hold which a prefix needs whole, on the GPU", () => {
    rekeyer.stored(stored({ group: FULL }));
    expect(held()).toEqual(names(2));
    rekeyer.stored(stored({ group: MLA, hashes: hashes(1), tokens: TOKENS.slice(0, 16) }));
    expect(held()).toEqual(names(1));
    rekeyer.stored(stored({ group: { ...MLA, kind: null } }));
    expect(held()).toEqual(names(2));
    rekeyer.removed(removed([1], "gpu", 2));
    expect(held()).toEqual(names(2));
    rekeyer.removed(removed([1, 2], "gpu", 2));
    expect(held()).toEqual([]);
    rekeyer.stored(stored({ tokens: new Uint32Array(), blockSize: 0, tier: "cpu" }));
    expect([...sink.holdings.values()]).toEqual([HELD_BELOW, HELD_BELOW]);
  });

  it("looks at no group whose blocks are of another length, and at no more than it can count", () => {
    rekeyer.stored(stored({ group: FULL }));
    rekeyer.stored(stored({ group: MLA, hashes: hashes(9), blockSize: 32 }));
    expect(rekeyer.counts.otherGroup).toBe(1);
    const group = (index: number) => stored({ group: { ...FULL, index } });
    for (let i = 1; i <= ANNOUNCEMENT_LIMITS.otherGroupsMax; i++) rekeyer.stored(group(i));
    expect(rekeyer.counts.otherGroup).toBe(1);
    rekeyer.stored(group(ANNOUNCEMENT_LIMITS.otherGroupsMax + 1));
    expect(rekeyer.counts.otherGroup).toBe(3);
    expect(held()).toEqual(names(2));
    for (let i = 0; i < ANNOUNCEMENT_LIMITS.groupCountMax; i++) rekeyer.stored(group(8));
    expect(rekeyer.counts.leftOut).toBe(2);
    expect(held()).toEqual(names(2));
  });

  it("holds what a naive account of each group's cache holds", () => {
    const event = record({
      group: constantFrom(FULL, WINDOW, MLA),
      block: integer({ min: 1, max: 4 }),
      kind: constantFrom("stored", "stored", "stored", "removed", "cleared", "anew"),
    });
    assert(
      property(array(event, { maxLength: 80, size: "max" }), (events) => {
        const recording = new RecordingSink();
        const subject = new Rekeyer(SLOT, recording);
        let caches = new Map<number, Map<number, number>>();
        for (const { group, block, kind } of events) {
          const isWhole = group !== WINDOW;
          const cache = caches.get(group.index);
          if (kind === "cleared") {
            // Which groups there are stays known.
            subject.cleared();
            for (const each of caches.values()) each.clear();
          } else if (kind === "anew") {
            subject.begunAnew();
            caches = new Map();
          } else if (kind === "removed") {
            subject.removed(removed([block], "gpu", group.index));
            cache?.set(block, Math.max(0, (cache.get(block) ?? 0) - 1));
          } else {
            // The chain up to a block, as a request's prompt is announced.
            const chain = Array.from({ length: block }, (_, i) => i + 1);
            const tokens = TOKENS.slice(0, 16 * block);
            subject.stored(stored({ group, hashes: hashes(...chain), tokens }));
            if (!isWhole) continue;
            const counts = cache ?? new Map<number, number>();
            for (const id of chain) {
              const most = [...caches.keys()][0] === group.index || caches.size === 0 ? 255 : 15;
              counts.set(id, Math.min(most, (counts.get(id) ?? 0) + 1));
            }
            caches.set(group.index, counts);
          }
        }
        const expected = names(4).filter((_, i) => {
          const counts = [...caches.values()].map((cache) => cache.get(i + 1) ?? 0);
          return counts.length > 0 && counts.every((count) => count > 0);
        });
        expect([...recording.holdings.keys()].toSorted()).toEqual(expected.toSorted());
      }),
      { numRuns: 500 },
    );
  });

  it("follows another group once the engine has begun anew", () => {
    const group = { index: 0, kind: "full_attention", slidingWindow: null };
    rekeyer.stored(stored({ group }));
    rekeyer.begunAnew();
    expect(held()).toEqual([]);
    expect(rekeyer.knownBlocks).toBe(0);
    rekeyer.stored(stored({ group: { ...group, index: 3 } }));
    rekeyer.stored(
      stored({
        hashes: hashes(3),
        parent: hashes(2),
        tokens: TOKENS.slice(32, 48),
        group: { ...group, index: 3, kind: null },
      }),
    );
    expect(held()).toEqual(names(3));
  });

  it("keeps what it knows of groups when the cache is emptied: engines do not say it again", () => {
    rekeyer.stored(stored({ group: FULL }));
    rekeyer.cleared();
    rekeyer.stored(stored({ group: { ...FULL, kind: null } }));
    expect(held()).toEqual(names(2));
    rekeyer.removed(removed([2], "gpu", FULL.index));
    expect(held()).toEqual(names(1));
  });

  it("forgets groups when one turns out to be of another kind", () => {
    rekeyer.stored(stored({ group: FULL }));
    rekeyer.stored(stored({ group: { ...WINDOW, index: FULL.index } }));
    expect(held()).toEqual([]);
    rekeyer.stored(stored({ group: MLA }));
    expect(held()).toEqual(names(2));
  });

  it("keeps to the tokens that a hash stands for while it is held", () => {
    rekeyer.stored(stored());
    const other = stored({ tokens: TOKENS.slice(32) });
    rekeyer.stored(other);
    expect(held()).toEqual(names(2));
    expect(rekeyer.counts.conflicting).toBe(2);
    rekeyer.removed(removed([1, 2]));
    rekeyer.stored(other);
    const fresh = new RecordingSink();
    new Rekeyer(SLOT, fresh).stored(other);
    expect(sink.holdings).toEqual(fresh.holdings);
    expect(rekeyer.counts.conflicting).toBe(2);
    expect([rekeyer.heldBlocks, rekeyer.knownBlocks]).toEqual([2, 2]);
  });

  it("tells only of blocks that end where requests have keys, if that is asked for", () => {
    rekeyer = new Rekeyer(SLOT, sink, { isSparse: true });
    const tokens = Uint32Array.from({ length: 160 }, (_, i) => i * 3);
    const keys = tokenBlockKeys({ adapter: null, tokens, blockSize: 16, extraKeys: [] });
    const name = (block: number) => `${SLOT}/${keys[block * 2]}:${keys[block * 2 + 1]}`;
    rekeyer.stored(stored({ hashes: hashes(1, 2, 3), tokens: tokens.slice(0, 48) }));
    expect(held()).toEqual([]);
    const ids = [4, 5, 6, 7, 8, 9, 10];
    rekeyer.stored(stored({ hashes: hashes(...ids), parent: hashes(3), tokens: tokens.slice(48) }));
    expect(held()).toEqual([name(3), name(7)]);
    expect(rekeyer.heldBlocks).toBe(10);
    rekeyer.removed(removed([10, 9, 8]));
    expect(held()).toEqual([name(3)]);
    // The offset outlives the removal of the parent, and of those beside it in the list.
    rekeyer.removed(removed([7, 6, 5]));
    rekeyer.stored(
      stored({ hashes: hashes(8), parent: hashes(7), tokens: tokens.slice(112, 128) }),
    );
    expect(held()).toEqual([name(3), name(7)]);
  });

  it("gives the index of an adapter that holds nothing to another", () => {
    const of = (i: number) =>
      stored({ hashes: hashes(100 + i * 2, 101 + i * 2), loraName: `lora-${i}` });
    for (let i = 0; i < ADAPTERS_MAX; i++) rekeyer.stored(of(i));
    rekeyer.removed(removed([100, 101, 102]));
    for (let i = 0; i < 3; i++) rekeyer.stored(of(ADAPTERS_MAX + i));
    // Of lora-0 nothing was held; of lora-1 a block still was.
    expect(rekeyer.counts.leftOut).toBe(4);
    const expected = names(2, { adapter: `lora-${ADAPTERS_MAX}` });
    expect(held()).toEqual(expect.arrayContaining(expected));
    expect(held()).not.toEqual(expect.arrayContaining([names(1, { adapter: "lora-0" })[0]]));
    rekeyer.begunAnew();
    for (let i = 0; i < ADAPTERS_MAX; i++) rekeyer.stored(of(1_000 + i));
    expect(rekeyer.counts.leftOut).toBe(4);
    expect(held()).toHaveLength(2 * ADAPTERS_MAX);
  });

  it("follows no more adapters and announcements than it can tell apart", () => {
    for (let i = 0; i < ADAPTERS_MAX; i++) {
      rekeyer.stored(stored({ hashes: hashes(100 + i * 2, 101 + i * 2), loraName: `lora-${i}` }));
    }
    expect(rekeyer.counts.leftOut).toBe(0);
    expect(rekeyer.lacksBlocks).toBe(false);
    rekeyer.stored(stored({ hashes: hashes(9_000, 9_001), loraName: "one too many" }));
    expect(rekeyer.counts.leftOut).toBe(2);
    expect(rekeyer.lacksBlocks).toBe(true);
    for (let i = 1; i < ANNOUNCEMENT_LIMITS.countMax; i++) {
      rekeyer.stored(stored({ hashes: hashes(100, 101), loraName: "lora-0" }));
    }
    expect(rekeyer.counts.leftOut).toBe(2);
    rekeyer.stored(stored({ hashes: hashes(100, 101), loraName: "lora-0" }));
    expect(rekeyer.counts.leftOut).toBe(4);
  });

  it("stays within its bytes: forgets what is not held, then leaves out", () => {
    const bytesMax = 1024 * 1024;
    rekeyer = new Rekeyer(SLOT, sink, { bytesMax });
    const block = (id: number) =>
      stored({ hashes: hashes(id), tokens: Uint32Array.from({ length: 16 }, () => id) });
    let most = 0;
    while (rekeyer.counts.leftOut === 0) rekeyer.stored(block(++most));
    expect(rekeyer.byteLength).toBeLessThanOrEqual(bytesMax);
    expect(most).toBeGreaterThan(20_000);
    rekeyer.removed(removed([1, 2, 3]));
    rekeyer.stored(block(most + 1));
    rekeyer.stored(block(most + 2));
    expect(rekeyer.counts.leftOut).toBe(1);
    // The first removed went first: its hash is unknown, the third's is not.
    rekeyer.stored(stored({ hashes: hashes(3), tokens: new Uint32Array(), blockSize: 0 }));
    rekeyer.stored(stored({ hashes: hashes(1), tokens: new Uint32Array(), blockSize: 0 }));
    expect(rekeyer.counts.unknown).toBe(1);
    expect(rekeyer.byteLength).toBeLessThanOrEqual(bytesMax);
  });

  it("holds what a naive account of the same events holds", () => {
    // Chains of blocks in a tree: block b follows block b >> 1, and block 1 begins.
    const block = integer({ min: 1, max: 7 });
    const tier = constantFrom<KvTier>("gpu", "cpu", "disk");
    const event = oneof(
      { weight: 6, arbitrary: record({ kind: constant("stored"), block, tier }) },
      { weight: 3, arbitrary: record({ kind: constant("tokenless"), block, tier }) },
      { weight: 6, arbitrary: record({ kind: constant("removed"), block, tier }) },
      { weight: 1, arbitrary: record({ kind: constant("cleared"), block, tier }) },
    );
    assert(
      property(array(event, { maxLength: 60, size: "max" }), (events) => {
        const recording = new RecordingSink();
        const subject = new Rekeyer(SLOT, recording);
        const known = new Set<number>();
        const counts = new Map<string, number>();
        for (const { kind, block: id, tier: on } of events) {
          const name = `${id}/${on}`;
          if (kind === "stored") {
            const parent = id === 1 ? null : hashes(id >> 1);
            const tokens = Uint32Array.of(id, id * 3);
            subject.stored(stored({ hashes: hashes(id), parent, tokens, blockSize: 2, tier: on }));
            if (id === 1 || known.has(id >> 1)) {
              known.add(id);
              counts.set(name, (counts.get(name) ?? 0) + 1);
            }
          } else if (kind === "tokenless") {
            const tokens = new Uint32Array();
            subject.stored(stored({ hashes: hashes(id), tokens, blockSize: 0, tier: on }));
            if (known.has(id)) counts.set(name, (counts.get(name) ?? 0) + 1);
          } else if (kind === "removed") {
            subject.removed(removed([id], on));
            counts.set(name, Math.max(0, (counts.get(name) ?? 0) - 1));
          } else {
            subject.cleared();
            counts.clear();
          }
        }
        const expected = new Map<string, number>();
        for (const id of known) {
          const on = (tierName: KvTier) => (counts.get(`${id}/${tierName}`) ?? 0) > 0;
          const holding = on("gpu") ? HELD_ON_GPU : on("cpu") || on("disk") ? HELD_BELOW : 0;
          if (holding !== 0) expected.set(treeName(id), holding);
        }
        expect(Object.fromEntries(recording.holdings)).toEqual(Object.fromEntries(expected));
        expect(subject.heldBlocks).toBe(expected.size);
      }),
    );
  });
});

/** The sink's name for a block of the tree above. */
function treeName(id: number): string {
  const path: number[] = [];
  for (let at = id; at >= 1; at >>= 1) path.unshift(at, at * 3);
  const tokens = Uint32Array.from(path);
  const keys = tokenBlockKeys({ adapter: null, tokens, blockSize: 2, extraKeys: [] });
  return `${SLOT}/${keys.at(-2)}:${keys.at(-1)}`;
}
