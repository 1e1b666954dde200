// Values of an event's fields, from every form that engines send to the one that we keep.

import {
  KV_EVENT_LIMITS,
  type KvExtraKey,
  type KvTier,
} from "../../../scheduler/kv/residency/kv-event.ts";
import { MalformedError, type MsgpackCursor } from "./msgpack-cursor.ts";

const { blocksMax, tokensMax, textCharsMax, extraKeysPerBlockMax } = KV_EVENT_LIMITS;
/** Bytes of a hash or digest; SHA-512 has 64. */
const DIGEST_BYTES_MAX = 64;
/** Pairs of an extra key that is a map. */
const TYPED_KEY_PAIRS_MAX = 8;

/** vLLM, SGLang and llm-d's storage publisher. What is not listed must not count as memory. */
const TIERS: ReadonlyMap<string, KvTier> = new Map([
  ["gpu", "gpu"],
  ["cpu", "cpu"],
  ["cpu_pinned", "cpu"],
  ["disk", "disk"],
  ["storage", "storage"],
  ["external", "storage"],
  ["shared_storage", "storage"],
  ["object_store", "storage"],
]);

/** The tier of a medium; engines that name none have only GPU memory. */
export function readTier(cursor: MsgpackCursor | undefined): KvTier {
  if (cursor === undefined) return "gpu";
  return TIERS.get(cursor.readText(textCharsMax).toLowerCase()) ?? "unknown";
}

/** Hashes, two words each. Longer digests count by their last 8 bytes, as vLLM's own integers do. */
export function readHashes(cursor: MsgpackCursor): Uint32Array {
  const count = cursor.readArrayLength(blocksMax);
  const out = new Uint32Array(count * 2);
  for (let i = 0; i < count; i++) readHash(cursor, out, i * 2);
  return out;
}

/** Two words, or null at the start of a chain, for which some engines say 0. */
export function readParent(cursor: MsgpackCursor | undefined): Uint32Array | null {
  if (cursor === undefined) return null;
  const out = new Uint32Array(2);
  readHash(cursor, out, 0);
  return out[0] === 0 && out[1] === 0 ? null : out;
}

function readHash(cursor: MsgpackCursor, out: Uint32Array, at: number): void {
  if (cursor.peek() !== "bytes") return cursor.readWords(out, at);
  const bytes = cursor.readBytes(DIGEST_BYTES_MAX);
  if (bytes.length === 0) throw new MalformedError("a hash has no bytes");
  out[at] = wordBefore(bytes, bytes.length);
  out[at + 1] = wordBefore(bytes, bytes.length - 4);
}

/** The big-endian word that ends before `end`; bytes before the first count as zero. */
function wordBefore(bytes: Uint8Array, end: number): number {
  let word = 0;
  for (let at = Math.max(0, end - 4); at < end; at++) word = (word << 8) | bytes[at]!;
  return word >>> 0;
}

/** Token ids as the engine joined them. */
export function readTokens(cursor: MsgpackCursor | undefined): Uint32Array {
  if (cursor === undefined) return new Uint32Array(0);
  const out = new Uint32Array(cursor.readArrayLength(tokensMax));
  cursor.readUint32s(out);
  return out;
}

/** An integer in [0, max]. */
export function readCount(cursor: MsgpackCursor, max: number): number {
  const value = cursor.readInteger();
  if (value < 0 || value > max) throw new MalformedError(`a number is not in 0..${max}`);
  return value;
}

/** A text of bounded length; null if it is empty, or no text at all. */
export function readName(cursor: MsgpackCursor | undefined): string | null {
  // One SGLang release has a map of metadata where the adapter's name belongs.
  if (cursor === undefined || cursor.peek() !== "text") return null;
  const text = cursor.readText(textCharsMax);
  return text === "" ? null : text;
}

/**
 * Extra keys of `blockCount` blocks, without the adapter's name, which engines put first on each
 * block. Undefined if one is of a kind that we cannot name: to leave it out would make two different
 * blocks look the same.
 */
export function readExtraKeys(
  cursor: MsgpackCursor | undefined,
  blockCount: number,
  loraName: string | null,
): KvExtraKey[][] | null | undefined {
  if (cursor === undefined) return null;
  if (cursor.readArrayLength(blockCount) !== blockCount) {
    throw new MalformedError("extra keys are not one a block");
  }
  const blocks: KvExtraKey[][] = [];
  let isAny = false;
  for (let i = 0; i < blockCount; i++) {
    const keys = readBlockKeys(cursor, loraName);
    if (keys === undefined) return undefined;
    isAny ||= keys.length > 0;
    blocks.push(keys);
  }
  return isAny ? blocks : null;
}

function readBlockKeys(cursor: MsgpackCursor, loraName: string | null): KvExtraKey[] | undefined {
  if (cursor.skipNil()) return [];
  const count = cursor.readArrayLength(extraKeysPerBlockMax);
  const keys: KvExtraKey[] = [];
  for (let i = 0; i < count; i++) {
    const key = readExtraKey(cursor);
    if (key === undefined) return undefined;
    const isAdapter = i === 0 && key?.kind === "text" && key.text === loraName;
    if (key !== null && !isAdapter) keys.push(key);
  }
  return keys;
}

/** One extra key; null for one that says nothing of its own, undefined for one we do not know. */
function readExtraKey(cursor: MsgpackCursor): KvExtraKey | null | undefined {
  switch (cursor.peek()) {
    case "nil":
      cursor.skip();
      return null;
    case "text":
      return { kind: "text", text: cursor.readText(textCharsMax) };
    case "bytes":
      return { kind: "digest", bytes: copyBytes(cursor) };
    case "array":
      return readMediaKey(cursor);
    case "map":
      return readTypedKey(cursor);
    case "boolean":
    case "integer":
    case "float":
    case "extension":
      return undefined;
  }
}

/** A copy, because the message is the socket's. `slice` would be a view: messages are Buffers. */
function copyBytes(cursor: MsgpackCursor): Uint8Array {
  return Uint8Array.from(cursor.readBytes(DIGEST_BYTES_MAX));
}

/** `[identifier, offset]`. */
function readMediaKey(cursor: MsgpackCursor): KvExtraKey | undefined {
  const count = cursor.readArrayLength(extraKeysPerBlockMax);
  if (count !== 2 || cursor.peek() !== "text") return undefined;
  const identifier = cursor.readText(textCharsMax);
  if (cursor.peek() !== "integer") return undefined;
  return { kind: "media", identifier, offset: cursor.readInteger() };
}

/**
 * `{"type": …, …}`, which a branch of vLLM sends. Names of the other fields differ, so they are told
 * apart by what they hold: a text or bytes is the value, an integer the position.
 */
function readTypedKey(cursor: MsgpackCursor): KvExtraKey | null | undefined {
  let type = "";
  let text: string | undefined;
  let bytes: Uint8Array | undefined;
  let offset: number | undefined;
  for (let left = cursor.readMapLength(TYPED_KEY_PAIRS_MAX); left > 0; left--) {
    const name = cursor.readText(textCharsMax);
    const kind = cursor.peek();
    if (name === "type") type = cursor.readText(textCharsMax);
    else if (name === "event_version") cursor.skip();
    else if (kind === "text") text = cursor.readText(textCharsMax);
    else if (kind === "bytes") bytes = copyBytes(cursor);
    else if (kind === "integer") offset = cursor.readInteger();
    else cursor.skip();
  }
  if (type === "lora") return null;
  if (!["cache_salt", "prompt_embeds", "mm", "legacy"].includes(type)) return undefined;
  if (bytes !== undefined) return { kind: "digest", bytes };
  if (text === undefined) return undefined;
  const isPlaced = type === "mm" && offset !== undefined;
  return isPlaced ? { kind: "media", identifier: text, offset: offset! } : { kind: "text", text };
}
