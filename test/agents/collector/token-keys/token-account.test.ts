// What sources hold, in the keys that a prompt's tokens give.

import { describe, expect, it } from "vitest";
import { TokenAccount } from "../../../../src/agents/collector/token-keys/token-account.ts";
import { CONTENT_BLOCK_TOKENS } from "../../../../src/scheduler/kv/content-keys.ts";
import { KeyChains } from "../../../../src/scheduler/kv/residency/key-chains.ts";
import type {
  KvBlocksStored,
  KvEventSource,
} from "../../../../src/scheduler/kv/residency/kv-event.ts";
import { tokenBlockKeys } from "../../../../src/scheduler/kv/residency/token-keys.ts";
import type { Split } from "../../../../src/scheduler/shards/contracts.ts";
import { EVERY_SHARD, prepareShards, shardOf } from "../../../../src/scheduler/shards/shard-of.ts";
import { MetricRegistry } from "../../../../src/telemetry/metrics.ts";
import { RecordingSink } from "../../../scheduler/kv/residency/holding-sink.ts";

const TOKENS = Uint32Array.from({ length: 512 }, (_, i) => i * 7);

const source = (endpoint: string | null): KvEventSource => ({ endpoint, rank: 0 });

/** The first blocks of the prompt. */
function stored(blockSize: number, blocks: number): KvBlocksStored {
  return {
    type: "stored",
    hashes: Uint32Array.from({ length: blocks * 2 }, (_, i) => (i % 2 === 0 ? i + 1 : blockSize)),
    parent: null,
    tokens: TOKENS.slice(0, blocks * blockSize),
    blockSize,
    loraName: null,
    tier: "gpu",
    extraKeys: null,
    group: null,
  };
}

/** As the sink names them: `low:high` of the prompt's first blocks. */
function keysOf(blockSize: number, blocks: number): string[] {
  const words = tokenBlockKeys({ adapter: null, tokens: TOKENS, blockSize, extraKeys: [] });
  return Array.from({ length: blocks }, (_, i) => `${words[i * 2]}:${words[i * 2 + 1]}`).toSorted();
}

function start(sourcesMax?: number) {
  const sink = new RecordingSink();
  const account = new TokenAccount(sink, undefined, sourcesMax);
  const held = (endpoint: string) =>
    [...sink.holdings.keys()]
      .map((name) => name.split("/"))
      .filter(([slot]) => account.sourceAt(Number(slot))?.endpoint === endpoint)
      .map(([, key]) => key!)
      .toSorted();
  return { account, held };
}

describe("blocks of a source", () => {
  it("are told apart from what says where hits end", () => {
    const sink = new RecordingSink();
    const account = new TokenAccount(sink, new KeyChains(CONTENT_BLOCK_TOKENS));
    const group = { index: 0, kind: "full_attention", slidingWindow: null };
    const from = source("a");
    account.stored(from, { ...stored(64, 3), group });
    account.stored(from, { ...stored(64, 3), group: { ...group, index: 1, kind: "mamba" } });
    const told = Array.from(sink.holdings.keys(), (name) => name.split("/")[1]!.split(":"));
    const ends = told.map(([low, high]) => account.tokensUpTo(Number(low), Number(high)));
    // The mark is told of as a key, too.
    expect(ends.filter((end) => end === "hit-end")).toHaveLength(3);
    expect(ends).toHaveLength(3 + 3 + 1);
  });

  it("are told in the keys that the prompt's tokens give, whatever their size", () => {
    const { account, held } = start();
    account.stored(source("a"), stored(64, 3));
    account.stored(source("b"), stored(128, 2));
    expect(held("a")).toEqual(keysOf(64, 3));
    expect(held("b")).toEqual(keysOf(128, 2));
    expect(held("b").every((key) => keysOf(64, 4).includes(key))).toBe(true);
  });

  it("are told where requests have keys: every 64 tokens", () => {
    const { account, held } = start();
    account.stored(source("a"), stored(16, 11));
    expect(held("a")).toEqual(keysOf(64, 2));
  });

  it("are taken back one by one, all at once, and with the source", () => {
    const { account, held } = start();
    const [a, b, c] = [source("a"), source("b"), source("c")];
    for (const each of [a, b, c]) account.stored(each, stored(64, 2));
    const hashes = stored(64, 2).hashes.slice(2);
    account.removed(a, { type: "removed", hashes, tier: "gpu", groupIndex: null });
    account.uncertain(b);
    account.gone(c);
    expect(held("a")).toEqual(keysOf(64, 1));
    expect(held("b")).toEqual([]);
    expect(held("c")).toEqual([]);
  });
});

it("knows which shard of a pool each block belongs to, also of those stored later", () => {
  const chains = new KeyChains(CONTENT_BLOCK_TOKENS);
  const account = new TokenAccount(new RecordingSink(), chains);
  const all = stored(16, 12);
  const first = { ...stored(16, 5) };
  account.stored(source("a"), first);
  // In a pool's other endpoint, and behind what the first one has told.
  const other = source("b");
  account.stored(other, first);
  const { hashes, tokens } = all;
  const parent = hashes.slice(8, 10);
  account.stored(other, { ...all, parent, hashes: hashes.slice(10), tokens: tokens.slice(80) });
  const keys = tokenBlockKeys({ adapter: null, tokens: TOKENS, blockSize: 64, extraKeys: [] });
  const splits: Split[] = [[keys[0]!, keys[1]!, 1]];
  chains.use({ count: 8, version: 1, splits });
  const shards = prepareShards({ count: 8, version: 1, splits });
  const shard = shardOf(keys.slice(0, 6), shards, 1);
  const found = [0, 1, 2].map((i) => chains.shardOf(keys[i * 2]!, keys[i * 2 + 1]!));
  expect(found).toEqual([EVERY_SHARD, shard, shard]);
});

it("tells again what an endpoint's ranks hold, and nothing else", () => {
  const told: string[] = [];
  const sink = {
    held: (slot: number, low: number, high: number) => told.push(`${slot}/${low}:${high}`),
  };
  const account = new TokenAccount(sink);
  const [first, second] = [source("a"), { ...source("a"), rank: 1 }];
  account.stored(first, stored(64, 3));
  account.stored(second, stored(128, 2));
  account.stored(source("b"), stored(64, 4));
  const hashes = stored(64, 3).hashes.slice(4);
  account.removed(first, { type: "removed", hashes, tier: "gpu", groupIndex: null });
  told.length = 0;
  account.tellAgain("a");
  const expected = [
    ...keysOf(64, 2).map((key) => `0/${key}`),
    ...keysOf(128, 2).map((key) => `1/${key}`),
  ];
  expect(told.toSorted()).toEqual(expected.toSorted());
});

it("gives a slot on when its source is gone", () => {
  const { account, held } = start();
  const gone = source("a");
  account.stored(gone, stored(64, 1));
  account.stored(source("b"), stored(64, 2));
  account.gone(gone);
  account.stored(source("c"), stored(64, 3));
  account.stored(source("d"), stored(64, 4));
  expect(held("b")).toEqual(keysOf(64, 2));
  expect(held("c")).toEqual(keysOf(64, 3));
  expect(held("d")).toEqual(keysOf(64, 4));
});

it("follows so many sources, and none that is no endpoint's", () => {
  const { account, held } = start(2);
  for (const endpoint of ["a", "b", "c", null]) account.stored(source(endpoint), stored(64, 1));
  expect(held("b")).toHaveLength(1);
  expect(held("c")).toEqual([]);
  expect(account.eventsLeftOut).toBe(2);
});

it("says which endpoints' blocks there was no room for, until they hold none", () => {
  const { account } = start(1);
  account.stored(source("a"), stored(64, 1));
  const over = source("b");
  account.stored(over, stored(64, 1));
  expect([account.lacksBlocks("a"), account.lacksBlocks("b")]).toEqual([false, true]);
  account.cleared(over, false);
  expect(account.lacksBlocks("b")).toBe(false);
});

it("counts blocks that are not followed, by why, also of sources that are gone", () => {
  const { account } = start();
  const gone = source("a");
  account.stored(gone, { ...stored(64, 1), parent: Uint32Array.of(9, 9) });
  account.gone(gone);
  account.stored(source("b"), { ...stored(64, 1), parent: Uint32Array.of(9, 9) });
  const registry = new MetricRegistry();
  account.render(registry);
  expect(registry.render()).toContain(
    'fairlead_kv_account_unfollowed_blocks_total{reason="unknown-parent"} 2\n',
  );
});

it("tells an endpoint's blocks and bytes, of all its ranks", () => {
  const { account } = start();
  account.stored({ endpoint: "a", rank: 0 }, stored(64, 1));
  account.stored({ endpoint: "a", rank: 1 }, stored(64, 2));
  const registry = new MetricRegistry();
  account.render(registry);
  expect(registry.render()).toContain('fairlead_kv_account_held_blocks{endpoint="a"} 3\n');
});
