import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  BATCH_BYTES_MAX,
  BATCH_EVENTS_MAX,
  decodeBatch,
} from "../../../../src/agents/collector/kv-events/decode-batch.ts";
import { FIELDS_MAX } from "../../../../src/agents/collector/kv-events/event-fields.ts";
import {
  KV_EVENT_LIMITS,
  type KvBlocksStored,
  type KvEvent,
} from "../../../../src/scheduler/kv/residency/kv-event.ts";
import { hexOf, pack, packBatch, tokensTo, vector, VECTORS } from "./support/batches.ts";

const [E0, E1] = VECTORS.hashes.map((hash) => BigInt(`0x${hash}`)) as [bigint, bigint];
const NONE = { unknown: 0, unkeyable: 0, malformed: 0 };

function good(payload: Uint8Array) {
  const batch = decodeBatch(payload);
  if (!batch.ok) throw new Error(batch.problem);
  return batch;
}

/** The one stored event of a payload. */
function stored(payload: Uint8Array): KvBlocksStored {
  const { events, skipped } = good(payload);
  expect(skipped).toEqual(NONE);
  expect(events).toHaveLength(1);
  return events[0] as KvBlocksStored;
}

/** Events with readable hashes and tokens. */
function readable(events: readonly KvEvent[]) {
  return events.map((event) => {
    if (event.type === "cleared") return event;
    const hashes = hexOf(event.hashes);
    if (event.type === "removed") return { ...event, hashes };
    return { ...event, hashes, parent: hexOf(event.parent)[0] ?? null, tokens: [...event.tokens] };
  });
}

/** What an event of the vectors has unless it says otherwise. */
const STORED = {
  type: "stored",
  hashes: VECTORS.hashes,
  parent: null,
  tokens: tokensTo(32),
  blockSize: 16,
  loraName: null,
  tier: "gpu",
  extraKeys: null,
  group: null,
};
const first = VECTORS.hashes.slice(0, 1);
const second = VECTORS.hashes.slice(1);

describe("vectors", () => {
  it.for([
    { name: "M1", rank: null, events: [STORED] },
    {
      name: "M2",
      rank: 0,
      events: [STORED, { type: "removed", hashes: second, tier: "gpu", groupIndex: null }],
    },
    {
      name: "M3",
      rank: 3,
      events: [
        {
          ...STORED,
          hashes: second,
          parent: first[0],
          tokens: tokensTo(32, 16),
          loraName: "my-lora",
          group: { index: 0, kind: "full_attention", slidingWindow: null },
        },
      ],
    },
    { name: "M4", rank: 0, events: [{ type: "cleared" }] },
    {
      name: "M5",
      rank: 0,
      events: [
        {
          ...STORED,
          hashes: first,
          tokens: tokensTo(16),
          group: { index: 0, kind: "full_attention", slidingWindow: null },
        },
      ],
    },
    {
      name: "M6",
      rank: 0,
      events: [{ type: "removed", hashes: first, tier: "gpu", groupIndex: 0 }, { type: "cleared" }],
    },
    { name: "M7", rank: 0, events: [{ ...STORED, hashes: first, tokens: tokensTo(16) }] },
    { name: "M8", rank: 0, events: [{ ...STORED, tokens: [], blockSize: 0, tier: "cpu" }] },
    { name: "M9", rank: 1, events: [{ type: "cleared" }] },
    {
      name: "M10",
      rank: null,
      events: [{ ...STORED, tokens: [], blockSize: 0, tier: "storage" }],
    },
  ])("$name", ({ name, rank, events }) => {
    const batch = good(vector(name));
    expect(readable(batch.events)).toEqual(events);
    expect(batch.rank).toBe(rank);
    expect(batch.skipped).toEqual(NONE);
  });

  it("are all told here", () => {
    expect(Object.keys(VECTORS.batches)).toHaveLength(10);
  });
});

describe("hashes", () => {
  it.for([
    { says: "the smallest integer form", hash: 7, is: "0000000000000007" },
    { says: "32 bits", hash: 0xffffffff, is: "00000000ffffffff" },
    { says: "64 bits", hash: 2n ** 64n - 1n, is: "ffffffffffffffff" },
    { says: "SGLang's signed ones", hash: -1n, is: "ffffffffffffffff" },
    { says: "a small negative", hash: -2, is: "fffffffffffffffe" },
    { says: "the least", hash: -(2n ** 63n), is: "8000000000000000" },
    {
      says: "16 bytes",
      hash: Buffer.from("ff".repeat(8) + "0102030405060708", "hex"),
      is: "0102030405060708",
    },
    { says: "8 bytes", hash: Buffer.from("0102030405060708", "hex"), is: "0102030405060708" },
    { says: "5 bytes", hash: Buffer.from("0102030405", "hex"), is: "0000000102030405" },
    { says: "one byte", hash: Buffer.from("ff", "hex"), is: "00000000000000ff" },
  ])("$says", ({ hash, is }) => {
    const event = stored(packBatch([["BlockStored", [hash], hash, tokensTo(4), 4, null]]));
    expect(hexOf(event.hashes)).toEqual([is]);
    expect(hexOf(event.parent)).toEqual([is]);
  });

  it.for([
    { says: "no bytes", hash: Buffer.alloc(0) },
    { says: "a text", hash: "abc" },
    { says: "a float", hash: 1.5 },
    { says: "nil", hash: null },
    { says: "too many bytes", hash: Buffer.alloc(65) },
  ])("refuses $says", ({ hash }) => {
    const { events, skipped } = good(packBatch([["BlockRemoved", [hash]]]));
    expect(events).toEqual([]);
    expect(skipped.malformed).toBe(1);
  });

  it("takes a parent of 0 for none, in every width", () => {
    for (const zero of [0, 0n, Buffer.alloc(32)]) {
      expect(stored(packBatch([["BlockStored", [1], zero, [1], 1, null]])).parent).toBeNull();
    }
  });
});

describe("media", () => {
  it.for([
    ["GPU", "gpu"],
    ["CPU", "cpu"],
    ["CPU_PINNED", "cpu"],
    ["DISK", "disk"],
    ["STORAGE", "storage"],
    ["EXTERNAL", "storage"],
    ["SHARED_STORAGE", "storage"],
    ["OBJECT_STORE", "storage"],
    ["gpu", "gpu"],
    ["TAPE", "unknown"],
    ["", "unknown"],
    [null, "gpu"],
  ] as const)("%s is %s", ([medium, tier]) => {
    const { events } = good(
      packBatch([
        ["BlockStored", [1], null, [], 0, null, medium],
        ["BlockRemoved", [1], medium],
      ]),
    );
    expect(events.map((event) => event.type !== "cleared" && event.tier)).toEqual([tier, tier]);
  });
});

/** A stored event of two blocks with these fields behind the tokens. */
const withExtras = (
  extraKeys: unknown,
  loraName: string | null = null,
  parent: bigint | null = null,
) =>
  packBatch([["BlockStored", [E0, E1], parent, tokensTo(8), 4, null, "GPU", loraName, extraKeys]]);

describe("extra keys", () => {
  it("names what goes into each block's hash, in order", () => {
    const digest = Uint8Array.from([1, 2, 3]);
    expect(
      stored(
        withExtras([
          ["mm-old", "salt"],
          [["mm-new", -3], digest],
        ]),
      ).extraKeys,
    ).toEqual([
      [
        { kind: "text", text: "mm-old" },
        { kind: "text", text: "salt" },
      ],
      [
        { kind: "media", identifier: "mm-new", offset: -3 },
        { kind: "digest", bytes: digest },
      ],
    ]);
  });

  it("leaves out the adapter's name, which engines repeat, once and only where it stands first", () => {
    const event = stored(
      withExtras(
        [
          ["a", "a", "salt"],
          ["mm", "a"],
        ],
        "a",
      ),
    );
    expect(event.loraName).toBe("a");
    expect(event.extraKeys).toEqual([
      [
        { kind: "text", text: "a" },
        { kind: "text", text: "salt" },
      ],
      [
        { kind: "text", text: "mm" },
        { kind: "text", text: "a" },
      ],
    ]);
  });

  it("are null where no block has any of its own", () => {
    expect(stored(withExtras([null, []])).extraKeys).toBeNull();
    expect(stored(withExtras([["a"], ["a"]], "a")).extraKeys).toBeNull();
  });

  it("reads the typed form of a branch", () => {
    const keys = [
      [
        { type: "lora", name: "a", event_version: 1 },
        { type: "mm", identifier: "img", offset: 2 },
        { type: "cache_salt", event_version: 1, salt: "s" },
      ],
      [
        { type: "prompt_embeds", digest: Uint8Array.from([9]) },
        { type: "legacy", value: "x" },
      ],
    ];
    expect(stored(withExtras(keys, "a")).extraKeys).toEqual([
      [
        { kind: "media", identifier: "img", offset: 2 },
        { kind: "text", text: "s" },
      ],
      [
        { kind: "digest", bytes: Uint8Array.from([9]) },
        { kind: "text", text: "x" },
      ],
    ]);
  });

  it.for([
    { says: "a number", key: 5 },
    { says: "a boolean", key: true },
    { says: "a pair of another shape", key: ["id", "x"] },
    { says: "a triple", key: ["id", 1, 2] },
    { says: "a typed key of a new type", key: { type: "tenant", value: "x" } },
    { says: "a typed key without a value", key: { type: "mm" } },
  ])("does not take blocks with $says, which would look like others", ({ key }) => {
    const { events, skipped } = good(withExtras([[key], null]));
    expect(events).toEqual([]);
    expect(skipped).toEqual({ ...NONE, unkeyable: 1 });
  });

  it("refuses a list that is not one a block", () => {
    for (const keys of [[null], [null, null, null]]) {
      expect(good(withExtras(keys)).skipped.malformed).toBe(1);
    }
  });

  it("puts SGLang's salt where vLLM has it, once", () => {
    const event = (fields: object) =>
      stored(
        packBatch([
          {
            type: "BlockStored",
            block_hashes: [1, 2],
            token_ids: [1, 2],
            block_size: 1,
            ...fields,
          },
        ]),
      ).extraKeys;
    const salted = [[{ kind: "text", text: "s" }], []];
    expect(event({ cache_salt: "s" })).toEqual(salted);
    expect(event({ cache_salt: "s", extra_keys: [["s"], null] })).toEqual(salted);
    expect(event({ cache_salt: "s", parent_block_hash: 9 })).toBeNull();
    expect(event({ cache_salt: null })).toBeNull();
  });
});

describe("adapters", () => {
  const adapter = (id: unknown, ...more: unknown[]) =>
    good(packBatch([["BlockStored", [1], null, [1], 1, id, ...more]]));

  it("are known by name, never by number", () => {
    const { events } = adapter(7, "GPU", "my-lora");
    expect((events[0] as KvBlocksStored).loraName).toBe("my-lora");
  });

  it.for([
    { says: "a number", fields: [7] },
    { says: "a text", fields: ["a-uuid"] },
    { says: "a wide number", fields: [2n ** 40n] },
    { says: "a name that is nil", fields: [1, "GPU", null] },
    { says: "a name that is empty", fields: [1, "GPU", ""] },
  ])("of which only this is known are not taken for the base model: $says", ({ fields }) => {
    const { events, skipped } = adapter(fields[0], ...fields.slice(1));
    expect(events).toEqual([]);
    expect(skipped).toEqual({ ...NONE, unkeyable: 1 });
  });

  it("that are none belong to the base model", () => {
    for (const id of [null, 0]) expect(adapter(id).events).toHaveLength(1);
  });

  it("are none where one SGLang release has a map", () => {
    const { events } = adapter(null, "GPU", { some: "metadata" });
    expect((events[0] as KvBlocksStored).loraName).toBeNull();
  });
});

describe("what is not known", () => {
  it("passes over unknown events and goes on", () => {
    const { events, skipped } = good(
      packBatch([
        ["BlockPinned", [1, 2]],
        { type: "Later", block_hashes: 5 },
        ["AllBlocksCleared"],
        ["constructor"],
      ]),
    );
    expect(events).toEqual([{ type: "cleared" }]);
    expect(skipped).toEqual({ ...NONE, unknown: 3 });
  });

  it("passes over fields that are further right or have other names", () => {
    const positional = [
      "BlockStored",
      [1],
      null,
      [5],
      1,
      null,
      "GPU",
      null,
      null,
      2,
      "mla_attention",
      128,
      "LOCAL",
      { a: 1 },
      "s",
    ];
    const named = {
      ownership: [1],
      block_hashes: [1],
      type: "BlockStored",
      constructor: "x",
      token_ids: [5],
      group_idx: 2,
      kv_cache_spec_kind: "mla_attention",
      kv_cache_spec_sliding_window: 128,
      block_size: 1,
    };
    const batch = good(pack([1, [positional, named], 0, "later", { x: 1 }]));
    expect(batch.skipped).toEqual(NONE);
    expect(batch.events[1]).toEqual(batch.events[0]);
    expect((batch.events[0] as KvBlocksStored).group).toEqual({
      index: 2,
      kind: "mla_attention",
      slidingWindow: 128,
    });
  });

  it("mixes arrays, maps and packed events in one batch", () => {
    const event = ["BlockRemoved", [3]];
    const { events } = good(
      packBatch([
        event,
        { type: "BlockRemoved", block_hashes: [3] },
        pack(event),
        pack({ type: "BlockRemoved", block_hashes: [3] }),
      ]),
    );
    expect(readable(events)).toEqual(
      Array.from({ length: 4 }, () => ({
        type: "removed",
        hashes: ["0000000000000003"],
        tier: "gpu",
        groupIndex: null,
      })),
    );
  });

  it("drops events without blocks", () => {
    const { events, skipped } = good(
      packBatch([
        ["BlockRemoved", []],
        ["BlockStored", [], null, [], 0],
      ]),
    );
    expect(events).toEqual([]);
    expect(skipped).toEqual(NONE);
  });

  it("says when it was made, if it does", () => {
    expect(good(packBatch([], 0, 1_761_234_567.25)).madeAtS).toBe(1_761_234_567.25);
    expect(good(pack({ events: [], ts: 1.5 })).madeAtS).toBe(1.5);
    expect(good(pack({ events: [] })).madeAtS).toBeNull();
    for (const ts of [7, 2n ** 63n, "x", null, [1.5]])
      expect(good(pack([ts, []])).madeAtS).toBeNull();
  });

  it("ignores a rank that cannot be one", () => {
    for (const rank of [-1, KV_EVENT_LIMITS.ranksMax, 1.5, "x", null]) {
      expect(good(packBatch([], rank as number)).rank).toBeNull();
    }
    expect(good(packBatch([], KV_EVENT_LIMITS.ranksMax - 1)).rank).toBe(
      KV_EVENT_LIMITS.ranksMax - 1,
    );
  });
});

describe("what is malformed", () => {
  it.for([
    { says: "an event that is a number", event: 5 },
    { says: "an event that is empty", event: [] },
    { says: "a tag that is no text", event: [5, [1]] },
    { says: "a map without a type", event: { block_hashes: [1] } },
    { says: "fewer fields than the oldest engine", event: ["BlockStored", [1], null, [1]] },
    { says: "no hashes", event: { type: "BlockStored" } },
    { says: "hashes that are none", event: ["BlockRemoved", "x"] },
    { says: "a token below zero", event: ["BlockStored", [1], null, [-1], 1, null] },
    { says: "a token beyond 32 bits", event: ["BlockStored", [1], null, [2 ** 32], 1, null] },
    { says: "a token that is a pair", event: ["BlockStored", [1], null, [[1, 2]], 1, null] },
    { says: "a block size below zero", event: ["BlockStored", [1], null, [1], -1, null] },
    {
      says: "a block size above the bound",
      event: ["BlockStored", [1], null, [1], KV_EVENT_LIMITS.blockSizeMax + 1, null],
    },
    {
      says: "a group above the bound",
      event: ["BlockRemoved", [1], "GPU", KV_EVENT_LIMITS.groupsMax],
    },
    { says: "a medium that is a number", event: ["BlockRemoved", [1], 5] },
    { says: "a packed event that is cut off", event: pack(["BlockRemoved", [1]]).subarray(0, 8) },
    {
      says: "packed bytes behind an event",
      event: Buffer.concat([pack(["BlockRemoved", [1]]), pack(1)]),
    },
    { says: "an event packed three times", event: pack(pack(["BlockRemoved", [1]])) },
  ])("counts $says, and takes what stands around it", ({ event }) => {
    const { events, skipped } = good(
      packBatch([["AllBlocksCleared"], event, ["AllBlocksCleared"]]),
    );
    expect(events).toEqual([{ type: "cleared" }, { type: "cleared" }]);
    expect(skipped).toEqual({ ...NONE, malformed: 1 });
  });

  it.for([
    { says: "nothing", payload: Buffer.alloc(0) },
    { says: "a number", payload: pack(1) },
    { says: "an empty array", payload: pack([]) },
    { says: "a time without events", payload: pack([1.5]) },
    { says: "events that are none", payload: pack([1.5, 5]) },
    { says: "a map without events", payload: pack({ ts: 1.5 }) },
    { says: "bytes behind the batch", payload: Buffer.concat([packBatch([]), pack(1)]) },
    {
      says: "a batch that is cut off",
      payload: packBatch([["BlockRemoved", [1]]]).subarray(0, -1),
    },
    {
      says: "headers that promise gigabytes",
      payload: Buffer.from("ddffffffff".repeat(1_000), "hex"),
    },
  ])("refuses $says whole", ({ payload }) => {
    expect(decodeBatch(payload)).toMatchObject({ ok: false });
  });
});

describe("bounds", () => {
  const { blocksMax, tokensMax, textCharsMax } = KV_EVENT_LIMITS;
  const fill = (length: number) => Array.from({ length }, () => 1);

  it("takes a batch of the most events and none above", () => {
    const events = (count: number) =>
      packBatch(Array.from({ length: count }, () => ["AllBlocksCleared"]));
    expect(good(events(BATCH_EVENTS_MAX)).events).toHaveLength(BATCH_EVENTS_MAX);
    expect(decodeBatch(events(BATCH_EVENTS_MAX + 1)).ok).toBe(false);
  });

  it("takes a message of the most bytes and none above", () => {
    const ofSize = (bytes: number) => {
      const empty = pack([1.5, [], 0, Buffer.alloc(70_000)]).length;
      return pack([1.5, [], 0, Buffer.alloc(bytes - empty + 70_000)]);
    };
    expect(ofSize(BATCH_BYTES_MAX)).toHaveLength(BATCH_BYTES_MAX);
    expect(decodeBatch(ofSize(BATCH_BYTES_MAX)).ok).toBe(true);
    expect(decodeBatch(ofSize(BATCH_BYTES_MAX + 1)).ok).toBe(false);
  });

  it("takes an event of the most blocks, tokens and characters and none above", () => {
    const malformed = (event: unknown[]) => good(packBatch([event])).skipped.malformed;
    expect(malformed(["BlockRemoved", fill(blocksMax)])).toBe(0);
    expect(malformed(["BlockRemoved", fill(blocksMax + 1)])).toBe(1);
    expect(malformed(["BlockStored", [1], null, fill(tokensMax), 1, null])).toBe(0);
    expect(malformed(["BlockStored", [1], null, fill(tokensMax + 1), 1, null])).toBe(1);
    const name = (chars: number) => [
      "BlockStored",
      [1],
      null,
      [1],
      1,
      null,
      "GPU",
      "x".repeat(chars),
    ];
    expect(malformed(name(textCharsMax))).toBe(0);
    expect(malformed(name(textCharsMax + 1))).toBe(1);
  });
});

describe("fields", () => {
  it("may be as many as the bound says, and no more", () => {
    const event = (count: number) => [
      "AllBlocksCleared",
      ...Array.from({ length: count - 1 }, () => 0),
    ];
    expect(good(packBatch([event(FIELDS_MAX)])).events).toHaveLength(1);
    expect(good(packBatch([event(FIELDS_MAX + 1)])).skipped.malformed).toBe(1);
  });
});

/** Whatever comes out keeps what the event form promises. */
function expectSound(payload: Uint8Array): void {
  const batch = decodeBatch(payload);
  if (!batch.ok) return;
  for (const event of batch.events) {
    if (event.type === "cleared") continue;
    expect(event.hashes.length).toBeGreaterThan(0);
    expect(event.hashes.length % 2).toBe(0);
    if (event.type !== "stored") continue;
    expect(event.extraKeys?.length ?? event.hashes.length / 2).toBe(event.hashes.length / 2);
    expect(event.parent?.length ?? 2).toBe(2);
    expect(event.parent?.some((word) => word !== 0) ?? true).toBe(true);
  }
}

describe("hostile bytes", () => {
  it("never throws on random ones", () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), expectSound), { numRuns: 3_000 });
  });

  it("never throws on vectors with bytes changed, cut, doubled or put in", () => {
    const names = Object.keys(VECTORS.batches);
    const change = fc.record({
      at: fc.nat(200),
      op: fc.constantFrom("set", "insert", "delete", "truncate"),
      byte: fc.oneof(
        fc.nat(255),
        fc.constantFrom(0xdd, 0xdf, 0xdb, 0xc6, 0xc9, 0xcf, 0xd3, 0x91, 0x81, 0xff, 0xc1),
      ),
    });
    fc.assert(
      fc.property(
        fc.constantFrom(...names),
        fc.array(change, { minLength: 1, maxLength: 6 }),
        (name, changes) => {
          let bytes = [...vector(name)];
          for (const { at, op, byte } of changes) {
            const place = at % Math.max(1, bytes.length);
            if (op === "set") bytes[place] = byte;
            else if (op === "insert") bytes.splice(place, 0, byte);
            else if (op === "delete") bytes.splice(place, 1);
            else bytes = bytes.slice(0, place);
          }
          expect(() => expectSound(Uint8Array.from(bytes))).not.toThrow();
        },
      ),
      { numRuns: 5_000 },
    );
  });

  it("reads events of random shape as their writer meant them, or counts them", () => {
    const odd = fc.constantFrom<unknown>(null, 1, -1, 1.5, "x", [], [1], { a: 1 }, true);
    const field = <T>(usual: fc.Arbitrary<T>) =>
      fc.oneof({ weight: 6, arbitrary: usual }, { weight: 1, arbitrary: odd });
    const hash = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
    const event = fc.tuple(
      field(fc.constantFrom<unknown>("BlockStored", "BlockRemoved", "AllBlocksCleared", "New")),
      field(fc.array(hash, { maxLength: 4 })),
      field(hash),
      field(fc.array(fc.nat(200_000), { maxLength: 8 })),
      field(fc.nat(64)),
      field(fc.constant(null)),
      field(fc.constantFrom("GPU", "CPU")),
    );
    fc.assert(
      fc.property(fc.array(event, { maxLength: 8 }), (events) => {
        const batch = good(packBatch(events));
        const { unknown, unkeyable, malformed } = batch.skipped;
        const empty = events.filter(
          ([tag, hashes]) =>
            (tag === "BlockStored" || tag === "BlockRemoved") &&
            Array.isArray(hashes) &&
            hashes.length === 0,
        ).length;
        const taken = batch.events.length + unknown + unkeyable + malformed;
        expect(taken).toBeLessThanOrEqual(events.length);
        expect(taken).toBeGreaterThanOrEqual(events.length - empty);
      }),
      { numRuns: 500 },
    );
  });
});
