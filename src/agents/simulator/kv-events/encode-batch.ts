// A batch of events as msgpack, in the form asked for.
//
// Arrays have their fields by position, and end with the last field the engine's generation knows.
// Maps name them, and leave out what was added after maps came when it has no value.
//
//   BlockStored   hashes, parent, tokens, size, lora id │ medium │ lora name │ extra keys │ group …
//   BlockRemoved  hashes                                │ medium │           │            │ group
//
// Source: vLLM vllm/distributed/kv_events.py, which packs with msgspec.

import { Encoder } from "@msgpack/msgpack";
import type { BlockExtra, BlockHash } from "../model/block-hash.ts";
import type { BlocksRemoved, BlocksStored, KvEvent, Tier } from "./event.ts";
import type { WireForm } from "./wire-form.ts";

type Field = readonly [name: string, value: unknown, since: WireForm["fields"]];

const FIELD_ORDER: readonly WireForm["fields"][] = [
  "lora-id",
  "medium",
  "lora-name",
  "extra-keys",
  "groups",
  "locality",
];

/** A KV cache group: layers whose blocks live and die together. */
interface Group {
  readonly index: number;
  readonly kind: string;
  /** Tokens; null for attention that sees everything. */
  readonly slidingWindow: number | null;
}

const FULL_ATTENTION: Group = { index: 0, kind: "full_attention", slidingWindow: null };
const SLIDING_WINDOW: Group = { index: 1, kind: "sliding_window", slidingWindow: 128 };

const MEDIUMS: Readonly<Record<WireForm["dialect"], Readonly<Record<Tier, string>>>> = {
  vllm: { gpu: "GPU", cpu: "CPU", storage: "SHARED_STORAGE" },
  sglang: { gpu: "GPU", cpu: "CPU_PINNED", storage: "EXTERNAL" },
};

const LOW_64_BITS = 0xffff_ffff_ffff_ffffn;
const UINT_32_MAX = 0xffff_ffffn;
const INT_32_MIN = -0x8000_0000n;
/** Keeps a time on the second a float: an integral number would be packed as an integer. */
const FLOAT_MARGIN_S = 2 ** -20;

const encoder = new Encoder({ useBigInt64: true });

export interface Batch {
  /** Unix time. */
  readonly atS: number;
  readonly rank: number;
  readonly events: readonly KvEvent[];
}

/** The payload of one message. The caller owns it. `hashBytes`: length of a whole hash. */
export function encodeBatch(batch: Batch, form: WireForm, hashBytes: number): Uint8Array {
  const ts = Number.isInteger(batch.atS) ? batch.atS + FLOAT_MARGIN_S : batch.atS;
  const groups = form.groups === 2 ? [FULL_ATTENTION, SLIDING_WINDOW] : ([FULL_ATTENTION] as const);
  const events = batch.events.flatMap((event) => {
    // A clear is about all groups, and only the GPU's blocks are in groups.
    const copies = event.kind === "cleared" || event.tier !== "gpu" ? [FULL_ATTENTION] : groups;
    const window = event.kind === "cleared" ? undefined : event.window;
    if (window !== undefined) {
      const group = { ...SLIDING_WINDOW, slidingWindow: window };
      return [eventOf(event, group, { form, hashBytes })];
    }
    return copies.map((group) => eventOf(event, group, { form, hashBytes }));
  });
  const rankName = form.dialect === "sglang" ? "attn_dp_rank" : "data_parallel_rank";
  const rank = form.rank ? [integer(batch.rank, form)] : [];
  if (form.batch === "array") return encoder.encode([ts, events, ...rank]);
  return encoder.encode({ ts, events, ...(form.rank ? { [rankName]: rank[0] } : {}) });
}

/**
 * A batch as the publisher of a shared store packs it: each event is packed on its own, and the batch
 * holds the bytes. Such a store knows hashes only, and no ranks. Source: llm-d-kv-cache
 * kv_connectors/llmd_fs_backend/llmd_fs_backend/event_publisher.py.
 */
export function encodeStorageBatch(
  atS: number,
  events: readonly (BlocksStored | BlocksRemoved)[],
): Uint8Array {
  const medium = MEDIUMS.vllm.storage;
  const packed = events.map((event) => {
    const hashes = event.hashes.map((hash) => shortest(hash & LOW_64_BITS));
    return encoder.encode(
      event.kind === "stored"
        ? ["BlockStored", hashes, 0, [], 0, null, medium]
        : ["BlockRemoved", hashes, medium],
    );
  });
  return encoder.encode([Number.isInteger(atS) ? atS + FLOAT_MARGIN_S : atS, packed]);
}

interface Context {
  readonly form: WireForm;
  readonly hashBytes: number;
}

function eventOf(event: KvEvent, group: Group, context: Context): unknown {
  const { form } = context;
  const [tag, fields] =
    event.kind === "stored"
      ? (["BlockStored", storedFields(event, group, context)] as const)
      : event.kind === "removed"
        ? (["BlockRemoved", removedFields(event, group, context)] as const)
        : (["AllBlocksCleared", []] as const);
  const last = FIELD_ORDER.indexOf(form.fields);
  const known = fields.filter(([, , since]) => FIELD_ORDER.indexOf(since) <= last);
  if (form.events === "array") return [tag, ...known.map(([, value]) => value)];
  const named = known.filter(([, value, since]) => value !== null || !isOptional(since));
  return { type: tag, ...Object.fromEntries(named.map(([name, value]) => [name, value])) };
}

/** Fields that maps leave out when they have no value. */
function isOptional(since: WireForm["fields"]): boolean {
  return FIELD_ORDER.indexOf(since) >= FIELD_ORDER.indexOf("extra-keys");
}

function storedFields(event: BlocksStored, group: Group, context: Context): Field[] {
  const { form } = context;
  const { content } = event;
  const parent = content?.parent;
  const noParent = form.firstParent === "zero" ? 0 : null;
  const fields: Field[] = [
    ["block_hashes", event.hashes.map((hash) => hashOf(hash, context)), "lora-id"],
    ["parent_block_hash", parent === undefined ? noParent : hashOf(parent, context), "lora-id"],
    // Not the typed array, which would be packed as bytes.
    ["token_ids", Array.from(content?.tokenIds ?? []), "lora-id"],
    ["block_size", integer(content?.blockSize ?? 0, form), "lora-id"],
    ["lora_id", content?.lora === undefined ? null : integer(content.lora.id, form), "lora-id"],
    ["medium", MEDIUMS[form.dialect][event.tier], "medium"],
  ];
  if (form.dialect === "sglang") {
    // Only its maps have them; its arrays end before.
    fields.push(["cache_salt", content?.cacheSalt ?? null, "extra-keys"]);
    fields.push(["session_id", null, "extra-keys"]);
    return fields;
  }
  fields.push(["lora_name", content?.lora?.name ?? null, "lora-name"]);
  fields.push(["extra_keys", extraKeys(content?.extras, form), "extra-keys"]);
  fields.push(...groupFields(event.tier, group, form));
  fields.push(["locality", "LOCAL", "locality"]);
  fields.push(["ownership", null, "locality"]);
  fields.push(["session_id", null, "locality"]);
  return fields;
}

function removedFields(event: BlocksRemoved, group: Group, context: Context): Field[] {
  const { form } = context;
  const fields: Field[] = [
    ["block_hashes", event.hashes.map((hash) => hashOf(hash, context)), "lora-id"],
    ["medium", MEDIUMS[form.dialect][event.tier], "medium"],
  ];
  if (form.dialect === "sglang") return fields;
  fields.push(groupFields(event.tier, group, form)[0]!);
  fields.push(["locality", "LOCAL", "locality"]);
  fields.push(["ownership", null, "locality"]);
  return fields;
}

/** Only the GPU's blocks belong to groups. */
function groupFields(tier: Tier, group: Group, form: WireForm): Field[] {
  const isGrouped = tier === "gpu";
  const window = group.slidingWindow === null ? null : integer(group.slidingWindow, form);
  return [
    ["group_idx", isGrouped ? integer(group.index, form) : null, "groups"],
    ["kv_cache_spec_kind", isGrouped ? group.kind : null, "groups"],
    ["kv_cache_spec_sliding_window", isGrouped ? window : null, "groups"],
  ];
}

/** A list a block, nil for a block without; nil altogether where the content is not known. */
function extraKeys(extras: readonly (readonly BlockExtra[])[] | undefined, form: WireForm) {
  if (extras === undefined) return null;
  return extras.map((ofBlock) => {
    if (ofBlock.length === 0) return null;
    return ofBlock.map(({ text, offset }) =>
      offset === undefined || form.extraKeys === "plain" ? text : [text, offset],
    );
  });
}

function hashOf(hash: BlockHash, { form, hashBytes }: Context): unknown {
  if (form.hashes === "bytes") {
    return Buffer.from(hash.toString(16).padStart(hashBytes * 2, "0"), "hex");
  }
  const low = hash & LOW_64_BITS;
  const value = form.hashes === "int" ? BigInt.asIntN(64, low) : low;
  return form.integers === "shortest" ? shortest(value) : value;
}

function integer(value: number, form: WireForm): number | bigint {
  return form.integers === "shortest" ? value : BigInt(value);
}

/** msgpack packs a number as short as it can, and a bigint in 64 bits. */
function shortest(value: bigint): number | bigint {
  return value >= INT_32_MIN && value <= UINT_32_MAX ? Number(value) : value;
}
