import { beforeEach, describe, expect, it } from "vitest";
import { HELD_BELOW, HELD_ON_GPU } from "../../../../src/scheduler/kv/residency/holding.ts";
import type {
  KvBlocksStored,
  KvEventSource,
} from "../../../../src/scheduler/kv/residency/kv-event.ts";
import { ResidencyAccount } from "../../../../src/scheduler/kv/residency/residency-account.ts";
import { tokenBlockKeys } from "../../../../src/scheduler/kv/residency/token-keys.ts";
import { RecordingSink } from "./holding-sink.ts";

const TOKENS = Uint32Array.from({ length: 64 }, (_, i) => i + 100);
const SALT = [[{ kind: "text", text: "salt" }]] as const;
const source = (endpoint: string | null, rank = 0): KvEventSource => ({ endpoint, rank });

const stored: KvBlocksStored = {
  type: "stored",
  hashes: Uint32Array.of(1, 0, 2, 0, 3, 0, 4, 0),
  parent: null,
  tokens: TOKENS,
  blockSize: 16,
  loraName: null,
  tier: "gpu",
  extraKeys: [...SALT, [], [], []],
  group: null,
};

/** Two content blocks, of which the first settles one token block and the second four. */
const LEARNED = {
  contentKeys: Uint32Array.of(11, 12, 21, 22),
  tokenKeys: tokenBlockKeys({ adapter: null, tokens: TOKENS, blockSize: 16, extraKeys: SALT }),
  ends: Uint32Array.of(1, 4),
};

describe("ResidencyAccount", () => {
  let sink: RecordingSink;
  let account: ResidencyAccount;
  beforeEach(() => {
    sink = new RecordingSink();
    account = new ResidencyAccount(sink, { slotsMax: 2 });
    account.learn(LEARNED);
  });
  const held = () => Object.fromEntries(sink.holdings);

  it("tells which content each source holds, as its events come", () => {
    const [first, second] = [source("a"), source("a", 1)];
    account.stored(first, stored);
    account.stored(second, { ...stored, tier: "cpu" });
    account.removed(first, {
      type: "removed",
      hashes: Uint32Array.of(4, 0),
      tier: "gpu",
      groupIndex: null,
    });
    expect(held()).toEqual({
      "0/11:12": HELD_ON_GPU,
      "1/11:12": HELD_BELOW,
      "1/21:22": HELD_BELOW,
    });
    expect(account.figures(first)).toMatchObject({ slot: 0, heldBlocks: 3, knownBlocks: 4 });
    expect(account.byteLength).toBeGreaterThan(account.figures(first)!.byteLength);
  });

  it("claims nothing of a source that is uncertain, and what it says from then on", () => {
    const only = source("a");
    account.stored(only, {
      ...stored,
      hashes: stored.hashes.slice(0, 4),
      tokens: TOKENS.slice(0, 32),
    });
    account.uncertain(only);
    expect(held()).toEqual({});
    account.stored(only, stored);
    expect(Object.keys(held())).toEqual(["0/11:12", "0/21:22"]);
    account.cleared(only, false);
    expect(held()).toEqual({});
  });

  it("forgets a source that is gone, and gives its slot to another", () => {
    const [first, second, third] = [source("a"), source("b"), source("c")];
    for (const each of [first, second, third]) account.stored(each, stored);
    expect(account.figures(third)).toBeUndefined();
    expect(account.eventsLeftOut).toBe(1);
    account.gone(first);
    expect(Object.keys(held())).toEqual(["1/11:12", "1/21:22"]);
    expect(account.figures(first)).toBeUndefined();
    account.stored(third, stored);
    expect(account.figures(third)?.slot).toBe(0);
  });

  it("does not take a storage that all endpoints share for an endpoint", () => {
    account.stored(source(null), stored);
    expect(held()).toEqual({});
    expect(account.eventsLeftOut).toBe(1);
  });
});
