// Sources with unlike block sizes in one pool, of which one prompt is told once.

import { describe, expect, it } from "vitest";
import {
  BLOCK_SIZES_MAX,
  PoolAccount,
} from "../../../../src/agents/collector/learning/pool-account.ts";
import type {
  KvBlocksStored,
  KvEventSource,
} from "../../../../src/scheduler/kv/residency/kv-event.ts";
import { hitEndHigh, hitEndLow } from "../../../../src/scheduler/kv/hit-end-keys.ts";
import { tokenBlockKeys } from "../../../../src/scheduler/kv/residency/token-keys.ts";
import { MetricRegistry } from "../../../../src/telemetry/metrics.ts";
import { RecordingSink } from "../../../scheduler/kv/residency/holding-sink.ts";

const TOKENS = Uint32Array.from({ length: 96 }, (_, i) => i * 7);
const STEP = 8;
/** Three content blocks, which settle 20, 50 and 96 tokens. */
const CONTENT = {
  tokensPerKey: STEP,
  contentKeys: Uint32Array.of(1, 0, 2, 0, 3, 0),
  tokenKeys: tokenBlockKeys({ adapter: null, tokens: TOKENS, blockSize: STEP, extraKeys: [] }),
  tokenCounts: Uint32Array.of(20, 50, 96),
};

const source = (endpoint: string): KvEventSource => ({ endpoint, rank: 0 });

/** The first blocks of the prompt. */
function stored(blockSize: number, blocks: number, fields = {}): KvBlocksStored {
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
    ...fields,
  };
}

function start() {
  const sink = new RecordingSink();
  const account = new PoolAccount(sink);
  /** First words of the content keys that an endpoint holds. */
  const held = (endpoint: string) =>
    [...sink.holdings.keys()]
      .flatMap((name) => {
        const [slot, key] = name.split("/");
        const isIts = account.sourceAt(Number(slot))?.endpoint === endpoint;
        return isIts ? [Number(key!.split(":")[0])] : [];
      })
      .toSorted((a, b) => a - b);
  const counted = (name: string, reason: string) => {
    const registry = new MetricRegistry();
    account.render(registry);
    const series = `fairlead_kv_account_${name}_total{reason="${reason}"} `;
    const line = registry
      .render()
      .split("\n")
      .find((each) => each.startsWith(series));
    return Number(line!.slice(series.length));
  };
  const dropped = (reason: string) => counted("dropped", reason);
  const unfollowed = (reason: string) => counted("unfollowed_blocks", reason);
  return { account, held, dropped, unfollowed };
}

describe("content of one prompt", () => {
  it("is counted in the tokens of whole blocks that it has become", () => {
    const { account } = start();
    account.stored(source("a"), stored(16, 3));
    account.stored(source("b"), stored(32, 1));
    account.learn(CONTENT);
    expect([1, 2, 3, 4].map((key) => account.tokensUpTo(key, 0))).toEqual([16, 48, 96, undefined]);
    const ends = [3, 4].map((key) => account.tokensUpTo(hitEndLow(key), hitEndHigh(0)));
    expect(ends).toEqual(["hit-end", undefined]);
  });

  it("is held by each source as its own blocks say", () => {
    const { account, held } = start();
    account.stored(source("a"), stored(16, 3));
    account.stored(source("b"), stored(32, 1));
    account.stored(source("c"), stored(96, 1));
    account.learn(CONTENT);
    // 48 tokens hold the content that settles 20 and 50; 32 that of 20; 96 tokens in one block all.
    expect(held("a")).toEqual([1, 2]);
    expect(held("b")).toEqual([1, 2]);
    expect(held("c")).toEqual([1, 2, 3]);
  });

  it("is held when its tokens come later, and no more when they go", () => {
    const { account, held } = start();
    const a = source("a");
    account.stored(a, stored(16, 1));
    account.learn(CONTENT);
    expect(held("a")).toEqual([1]);
    const { hashes } = stored(16, 6);
    account.stored(a, stored(16, 6));
    expect(held("a")).toEqual([1, 2, 3]);
    account.removed(a, {
      type: "removed",
      hashes: hashes.slice(10),
      tier: "gpu",
      groupIndex: null,
    });
    expect(held("a")).toEqual([1, 2]);
    account.uncertain(a);
    expect(held("a")).toEqual([]);
  });

  it("makes known what an endpoint holds, of all its ranks together", () => {
    const { account } = start();
    const [first, second] = [source("a"), { endpoint: "a", rank: 1 }];
    expect(account.knownShare("a")).toBe(1);
    account.stored(first, stored(16, 6));
    expect(account.knownShare("a")).toBe(0);
    account.learn({ ...CONTENT, tokenCounts: Uint32Array.of(16, 32, 48) });
    expect(account.knownShare("a")).toBe(0.5);
    account.stored(second, stored(16, 2));
    expect(account.knownShare("a")).toBe(5 / 8);
    account.gone(first);
    expect(account.knownShare("a")).toBe(1);
    expect(account.knownShare("b")).toBe(1);
  });

  it("is left out where its keys do not fall on blocks' ends, and counted", () => {
    const { account, held, dropped } = start();
    account.stored(source("a"), stored(12, 8));
    account.learn(CONTENT);
    expect(held("a")).toEqual([]);
    expect(dropped("uneven-prompt")).toBe(1);
  });
});

describe("a block size", () => {
  it("that is new makes the epoch another: what was learned before is not known for it", () => {
    const { account, held } = start();
    const epochs = [account.epoch];
    account.learn(CONTENT);
    account.stored(source("a"), stored(16, 3));
    epochs.push(account.epoch);
    expect(held("a")).toEqual([]);
    account.stored(source("b"), stored(16, 3));
    expect(account.epoch).toBe(epochs[1]);
    account.stored(source("c"), stored(32, 1));
    epochs.push(account.epoch);
    expect(new Set(epochs).size).toBe(3);
    account.learn(CONTENT);
    expect(held("b")).toEqual([1, 2]);
  });

  it("is what blocks in GPUs have: other tiers join several", () => {
    const { account, held, dropped } = start();
    const a = source("a");
    account.stored(a, stored(48, 1, { tier: "cpu" }));
    expect(dropped("event")).toBe(1);
    account.stored(a, stored(16, 1));
    account.stored(a, stored(48, 1, { tier: "cpu" }));
    account.learn(CONTENT);
    expect(held("a")).toEqual([1]);
  });

  it("may change while the source holds nothing", () => {
    const { account, held } = start();
    const a = source("a");
    account.stored(a, stored(16, 3));
    account.learn(CONTENT);
    account.stored(a, stored(32, 3));
    expect(held("a")).toEqual([1, 2]);
    account.cleared(a, true);
    account.stored(a, stored(32, 3));
    account.learn(CONTENT);
    expect(held("a")).toEqual([1, 2, 3]);
    account.gone(a);
    expect(held("a")).toEqual([]);
  });

  const group = (index: number, kind: string | null) => ({
    group: { index, kind, slidingWindow: null },
  });

  it("is that of groups that a prefix needs whole: others change nothing", () => {
    const { account, held, dropped, unfollowed } = start();
    const { epoch } = account;
    const a = source("a");
    account.stored(a, stored(96, 1, group(1, "mamba")));
    account.stored(a, stored(48, 1, group(2, null)));
    expect(account.epoch).toBe(epoch);
    expect(unfollowed("other-group")).toBe(2);
    account.stored(a, stored(16, 3, group(0, "full_attention")));
    account.learn(CONTENT);
    const known = account.epoch;
    // Nothing is held, and engines do not say again of what kind a group is.
    account.cleared(a, false);
    account.stored(a, stored(96, 1, group(1, "mamba")));
    account.stored(a, stored(96, 1, group(3, "mla_attention")));
    account.stored(a, stored(16, 3, group(0, null)));
    expect(held("a")).toEqual([1, 2]);
    expect(account.epoch).toBe(known);
    expect(dropped("event")).toBe(0);
  });

  it("may be another where the source is a new process, whatever it held", () => {
    const { account, held } = start();
    const a = source("a");
    account.stored(a, stored(16, 3, group(0, "full_attention")));
    account.cleared(a, true);
    account.stored(a, stored(32, 3, group(0, "full_attention")));
    account.learn(CONTENT);
    expect(held("a")).toEqual([1, 2, 3]);
  });

  it("is one of few: sources of further ones are not followed, and counted", () => {
    const { account, held, dropped } = start();
    for (let i = 1; i <= BLOCK_SIZES_MAX; i++) account.stored(source(`e${i}`), stored(8 * i, 1));
    const { epoch } = account;
    account.stored(source("over"), stored(1, 1));
    account.learn(CONTENT);
    expect(account.epoch).toBe(epoch);
    expect(held("over")).toEqual([]);
    expect(dropped("event")).toBe(1);
  });

  it("is one too many until the source has been cleared: its endpoint is not wholly known", () => {
    const { account } = start();
    for (let i = 1; i <= BLOCK_SIZES_MAX; i++) account.stored(source(`e${i}`), stored(8 * i, 1));
    const over = source("over");
    account.stored(over, stored(1, 1));
    expect([account.lacksBlocks("e1"), account.lacksBlocks("over")]).toEqual([false, true]);
    account.cleared(over, false);
    expect(account.lacksBlocks("over")).toBe(false);
  });
});

describe("what is not followed", () => {
  it("is counted by why, also of sources that are gone", () => {
    const { account, unfollowed } = start();
    const a = source("a");
    account.stored(a, stored(16, 3));
    account.stored(a, stored(16, 2, { tier: "storage" }));
    account.stored(a, stored(16, 2, { parent: Uint32Array.of(99, 99) }));
    account.stored(source("b"), stored(16, 1, { parent: Uint32Array.of(99, 99) }));
    account.gone(a);
    expect(unfollowed("other-tier")).toBe(2);
    expect(unfollowed("unknown-parent")).toBe(3);
  });

  it("is what storage holds that all endpoints share", () => {
    const { account, held, dropped, unfollowed } = start();
    account.stored(source("a"), stored(16, 3));
    account.learn(CONTENT);
    const storage: KvEventSource = { endpoint: null, rank: 0 };
    const blocks = { tokens: new Uint32Array(), blockSize: 0, tier: "storage" };
    account.stored(storage, stored(16, 6, blocks));
    account.removed(storage, {
      type: "removed",
      hashes: Uint32Array.of(1, 16),
      tier: "storage",
      groupIndex: null,
    });
    expect(held("a")).toEqual([1, 2]);
    expect(unfollowed("shared-storage")).toBe(6);
    expect(dropped("event")).toBe(0);
  });
});
