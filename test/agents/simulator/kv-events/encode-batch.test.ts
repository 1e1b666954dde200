import { readFileSync } from "node:fs";
import { decode } from "@msgpack/msgpack";
import { describe, expect, it } from "vitest";
import { decodeBatch } from "../../../../src/agents/collector/kv-events/decode-batch.ts";
import {
  encodeBatch,
  encodeStorageBatch,
} from "../../../../src/agents/simulator/kv-events/encode-batch.ts";
import type {
  BlocksRemoved,
  BlocksStored,
  KvEvent,
  StoredContent,
  Tier,
} from "../../../../src/agents/simulator/kv-events/event.ts";
import {
  WIRE_FORMS,
  wireFormFlag,
  type WireForm,
} from "../../../../src/agents/simulator/kv-events/wire-form.ts";

const BATCHES: Record<string, { hex: string }> = JSON.parse(
  readFileSync("test/fixtures/kv-event-batches.json", "utf8"),
).batches;

const AT_S = 1_767_225_600.5;
// Whole digests, whose low 64 bits the vectors have.
const E0 = 0xd830de3d42c00f25a2949b5d12d98642664a44872c1614c5b0147556276afc9cn;
const E1 = 0xfedd9e4abebebbe6f6cf96b682f08d316063fe2f22a5c552192dd62904fcccacn;
const HASH_BYTES = 32;

const range = (count: number) => Uint32Array.from({ length: count }, (_, i) => i);

function stored(hashes: bigint[], content?: Partial<StoredContent>, tier: Tier = "gpu") {
  const base: BlocksStored = { kind: "stored", tier, hashes };
  if (content === undefined) return base;
  const full: StoredContent = {
    parent: undefined,
    tokenIds: range(hashes.length * 16),
    blockSize: 16,
    lora: undefined,
    cacheSalt: undefined,
    extras: hashes.map(() => []),
    ...content,
  };
  return { ...base, content: full };
}

const removed = (hashes: bigint[], tier: Tier = "gpu"): BlocksRemoved => ({
  kind: "removed",
  tier,
  hashes,
});
const CLEARED: KvEvent = { kind: "cleared" };

function encode(form: WireForm, events: KvEvent[], rank = 0): Uint8Array {
  return encodeBatch({ atS: AT_S, rank, events }, form, HASH_BYTES);
}

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
const UP_TO_EXTRA_KEYS = { ...WIRE_FORMS.vllm, fields: "extra-keys" } as const;
const MAP_BATCH = WIRE_FORMS["vllm-map-batch"];

describe("the forms of vLLM, byte for byte", () => {
  const cases: { name: string; form: WireForm; events: KvEvent[]; rank?: number }[] = [
    { name: "M1", form: WIRE_FORMS["vllm-0.9"], events: [stored([E0, E1], {})] },
    { name: "M2", form: UP_TO_EXTRA_KEYS, events: [stored([E0, E1], {}), removed([E1])] },
    { name: "M4", form: WIRE_FORMS.vllm, events: [CLEARED] },
    { name: "M5", form: WIRE_FORMS["vllm-map"], events: [stored([E0], {})] },
    { name: "M6", form: WIRE_FORMS["vllm-map"], events: [removed([E0]), CLEARED] },
    { name: "M8", form: UP_TO_EXTRA_KEYS, events: [stored([E0, E1], undefined, "cpu")] },
    { name: "M9", form: MAP_BATCH, events: [CLEARED], rank: 1 },
  ];
  it.for(cases)("$name", ({ name, form, events, rank }) => {
    expect(hex(encode(form, events, rank))).toBe(BATCHES[name]!.hex);
  });

  it("M10, a storage publisher's", () => {
    const event = stored([E0, E1], undefined, "storage");
    expect(hex(encodeStorageBatch(AT_S, [event]))).toBe(BATCHES["M10"]!.hex);
  });

  it("M3 but for the adapter's number, which the vector leaves out", () => {
    const lora = { id: 1, name: "my-lora" };
    const content = { parent: E0, tokenIds: range(32).slice(16), lora };
    const event = stored([E1], { ...content, extras: [[{ text: "my-lora" }]] });
    const withoutId = hex(encode(WIRE_FORMS.vllm, [event], 3)).replace(
      "1001a3475055",
      "10c0a3475055",
    );
    expect(withoutId).toBe(BATCHES["M3"]!.hex);
  });
});

const first = (bytes: Uint8Array) =>
  (decode(bytes, { useBigInt64: true }) as [number, unknown[][]])[1][0]!;

describe("other forms", () => {
  it("gives hashes signed, as SGLang does, and shifts their names of tiers", () => {
    const event = first(encode(WIRE_FORMS.sglang, [stored([E0], {}), CLEARED]));
    expect(event).toHaveLength(7);
    expect(event[1]).toEqual([BigInt.asIntN(64, E0)]);
    expect(first(encode(WIRE_FORMS.sglang, [removed([E0], "cpu")]))[2]).toBe("CPU_PINNED");
  });

  it("names a salt beside the block in SGLang's maps, and no extra keys", () => {
    const event = stored([E0], { cacheSalt: "s", extras: [[{ text: "s" }]] });
    const map = first(encode(WIRE_FORMS["sglang-map"], [event])) as unknown as object;
    expect(map).toMatchObject({ type: "BlockStored", cache_salt: "s" });
    expect(map).not.toHaveProperty("extra_keys");
    expect(map).not.toHaveProperty("session_id");
  });

  it("gives whole hashes as bytes", () => {
    const event = first(encode(WIRE_FORMS["vllm-bytes"], [stored([E0], {})]));
    expect(hex((event[1] as Uint8Array[])[0]!)).toBe(E0.toString(16));
  });

  it("gives whole hashes as bytes, with their leading zeros", () => {
    const event = first(encode(WIRE_FORMS["vllm-bytes"], [stored([1n], {})]));
    expect((event[1] as Uint8Array[])[0]).toHaveLength(HASH_BYTES);
  });

  it("packs integers wide and a missing parent as zero, as llm-d's simulator does", () => {
    const event = first(encode(WIRE_FORMS["llm-d-sim"], [stored([5n], {})]));
    expect(event[1]).toEqual([5n]);
    expect(event[2]).toBe(0);
    expect(event[4]).toBe(16n);
    expect(first(encode(WIRE_FORMS.vllm, [stored([5n], {})]))[1]).toEqual([5]);
  });

  it("has an event's newest fields after those that are known", () => {
    const newest = { ...WIRE_FORMS.vllm, fields: "locality" } as const;
    expect(first(encode(newest, [stored([E0], {})])).slice(9)).toEqual([
      0,
      "full_attention",
      null,
      "LOCAL",
      null,
      null,
    ]);
    expect(first(encode(newest, [removed([E0])]))).toEqual([
      "BlockRemoved",
      [E0 & 0xffff_ffff_ffff_ffffn],
      "GPU",
      0,
      "LOCAL",
      null,
    ]);
  });

  it("tells of a picture by its identifier, and where it begins", () => {
    const event = stored([E0], { extras: [[{ text: "cat", offset: -3 }, { text: "salt" }]] });
    expect(first(encode(WIRE_FORMS.vllm, [event]))[8]).toEqual([[["cat", -3], "salt"]]);
    expect(first(encode(WIRE_FORMS["vllm-0.18"], [event]))[8]).toEqual([["cat", "salt"]]);
  });

  it("tells everything again for a second group, but what is not on the GPU", () => {
    const two = { ...WIRE_FORMS.vllm, groups: 2 } as const;
    const events = [stored([E0], {}), removed([E0]), removed([E0], "cpu"), CLEARED];
    const [, encoded] = decode(encode(two, events)) as [number, unknown[][]];
    const groups = encoded.map((event) => event[event[0] === "BlockStored" ? 9 : 3]);
    expect(groups).toEqual([0, 1, 0, 1, null, undefined]);
  });

  it("keeps a time on the second a float", () => {
    const bytes = encodeBatch({ atS: 5, rank: 0, events: [] }, WIRE_FORMS.vllm, HASH_BYTES);
    expect(bytes[1]).toBe(0xcb);
  });
});

describe("what the collector reads", () => {
  it.for(Object.entries(WIRE_FORMS))("%s", ([, form]: [string, WireForm]) => {
    const events = [
      stored([E0, E1], { parent: 7n }),
      stored([E0], undefined, "cpu"),
      removed([E0]),
      CLEARED,
    ];
    const decoded = decodeBatch(encode(form, events, 3));
    if (!decoded.ok) throw new Error(decoded.problem);
    expect(decoded.rank).toBe(form.rank ? 3 : null);
    expect(decoded.skipped).toEqual({ unknown: 0, unkeyable: 0, malformed: 0 });
    const [onGpu, onCpu, gone, cleared] = decoded.events;
    expect(onGpu).toMatchObject({ type: "stored", tier: "gpu", tokens: range(32), blockSize: 16 });
    expect(onCpu).toMatchObject({ type: "stored", blockSize: 0, tokens: range(0) });
    expect([gone!.type, cleared!.type]).toEqual(["removed", "cleared"]);
    const low = (hash: bigint) => [
      Number(hash & 0xffff_ffffn),
      Number((hash >> 32n) & 0xffff_ffffn),
    ];
    expect(onGpu).toMatchObject({
      hashes: Uint32Array.from([...low(E0), ...low(E1)]),
      parent: Uint32Array.from(low(7n)),
    });
  });
});

describe("the flag", () => {
  it("takes a form by name, or what is different from one", () => {
    expect(wireFormFlag.parse("sglang")).toEqual({ ok: true, value: WIRE_FORMS.sglang });
    expect(wireFormFlag.parse('{"from": "sglang", "hashes": "bytes"}')).toEqual({
      ok: true,
      value: { ...WIRE_FORMS.sglang, hashes: "bytes" },
    });
    expect(wireFormFlag.parse("{}")).toEqual({ ok: true, value: WIRE_FORMS.vllm });
  });

  it.for(["vllm-99", "toString", '{"hash": "int"}', '{"hashes": "words"}', "[1]"])(
    "refuses %s, and says what there is",
    (text) => {
      expect(wireFormFlag.parse(text)).toMatchObject({ ok: false });
    },
  );
});
