// What sources hold, in the keys that a prompt's tokens give.

import { describe, expect, it } from "vitest";
import { TokenAccount } from "../../../../src/agents/collector/token-keys/token-account.ts";
import type {
  KvBlocksStored,
  KvEventSource,
} from "../../../../src/scheduler/kv/residency/kv-event.ts";
import { tokenBlockKeys } from "../../../../src/scheduler/kv/residency/token-keys.ts";
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
  const account = new TokenAccount(sink, sourcesMax);
  const held = (endpoint: string) =>
    [...sink.holdings.keys()]
      .map((name) => name.split("/"))
      .filter(([slot]) => account.sourceAt(Number(slot))?.endpoint === endpoint)
      .map(([, key]) => key!)
      .toSorted();
  return { account, held };
}

describe("blocks of a source", () => {
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

it("tells an endpoint's blocks and bytes, of all its ranks", () => {
  const { account } = start();
  account.stored({ endpoint: "a", rank: 0 }, stored(64, 1));
  account.stored({ endpoint: "a", rank: 1 }, stored(64, 2));
  const registry = new MetricRegistry();
  account.render(registry);
  expect(registry.render()).toContain('fairlead_kv_account_held_blocks{endpoint="a"} 3\n');
});
