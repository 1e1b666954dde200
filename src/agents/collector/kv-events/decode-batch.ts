// A published batch, from bytes to events: every encoding that vLLM, SGLang and llm-d's publishers use.
//
//   [ts, events, rank?]   or   {"ts": …, "events": …, "data_parallel_rank": …}
//   an event: array, map, or bytes that hold one of both (llm-d's storage publisher packs twice)
//
// Unlike llm-d's router, which gives up the batch at an unknown tag, takes only full-width integers
// for hashes, keys a LoRA request's blocks by its name twice, and leaves out extra keys it does not
// understand: here an unknown event is passed over, and blocks that cannot be told apart from others
// are not taken at all.

import {
  KV_EVENT_LIMITS,
  type KvBlocksStored,
  type KvCacheGroup,
  type KvEvent,
  type KvExtraKey,
} from "../../../scheduler/kv/residency/kv-event.ts";
import { EventFields } from "./event-fields.ts";
import { MalformedError, MsgpackCursor } from "./msgpack-cursor.ts";
import {
  readCount,
  readExtraKeys,
  readHashes,
  readName,
  readParent,
  readTier,
  readTokens,
} from "./wire-values.ts";

/** One message. A chunk of prefill is some 100 kB; this is a prompt of two million tokens at once. */
export const BATCH_BYTES_MAX = 16 * 1024 * 1024;
/** Events of one batch: an engine that needs room may tell each evicted block by itself. */
export const BATCH_EVENTS_MAX = 65_536;
/** Fields of the batch itself. */
const BATCH_FIELDS_MAX = 16;

/** Why events of a readable batch were not taken. Metric labels. */
export interface SkippedEvents {
  /** A tag that this release does not know. */
  unknown: number;
  /** Blocks of an adapter without a name, or with an extra key of an unknown kind. */
  unkeyable: number;
  /** Not what the tag promises. What it would have said is lost. */
  malformed: number;
}

export type DecodedBatch =
  | {
      readonly ok: true;
      readonly events: readonly KvEvent[];
      /** When it was made, in seconds since 1970 by the publisher's clock; null where it does not say. */
      readonly madeAtS: number | null;
      /** The publisher's data-parallel rank; null where it does not say. */
      readonly rank: number | null;
      readonly skipped: Readonly<SkippedEvents>;
    }
  /** For people: what is wrong, and at which byte. */
  | { readonly ok: false; readonly problem: string };

/** Decodes one payload. Never throws, and allocates in proportion to the payload at most. */
export function decodeBatch(payload: Uint8Array): DecodedBatch {
  if (payload.length > BATCH_BYTES_MAX) {
    return { ok: false, problem: `larger than ${BATCH_BYTES_MAX} bytes` };
  }
  try {
    // The whole structure first: of a message that is cut off, nothing is believed.
    const cursor = new MsgpackCursor(payload);
    cursor.skip();
    if (!cursor.isAtEnd) return { ok: false, problem: "bytes follow the batch" };
    cursor.seek(0);
    return new BatchDecoder(cursor).decode();
  } catch (error) {
    if (error instanceof MalformedError) return { ok: false, problem: error.message };
    throw error;
  }
}

class BatchDecoder {
  readonly #cursor: MsgpackCursor;
  readonly #fields = new EventFields();
  readonly #events: KvEvent[] = [];
  readonly #skipped: SkippedEvents = { unknown: 0, unkeyable: 0, malformed: 0 };
  #rank: number | null = null;
  #madeAtS: number | null = null;

  constructor(cursor: MsgpackCursor) {
    this.#cursor = cursor;
  }

  decode(): DecodedBatch {
    if (this.#cursor.peek() === "map") this.#readNamed();
    else this.#readPositional();
    return {
      ok: true,
      events: this.#events,
      madeAtS: this.#madeAtS,
      rank: this.#rank,
      skipped: this.#skipped,
    };
  }

  #readPositional(): void {
    const cursor = this.#cursor;
    const count = cursor.readArrayLength(BATCH_FIELDS_MAX);
    if (count < 2) throw new MalformedError("a batch has no events");
    this.#madeAtS = cursor.readDoubleOrSkip() ?? null;
    this.#readEvents();
    if (count > 2) this.#readRank();
  }

  #readNamed(): void {
    const cursor = this.#cursor;
    let isComplete = false;
    for (let left = cursor.readMapLength(BATCH_FIELDS_MAX); left > 0; left--) {
      const name = cursor.readText(KV_EVENT_LIMITS.textCharsMax);
      if (name === "events") {
        if (isComplete) throw new MalformedError("a batch has events twice");
        this.#readEvents();
        isComplete = true;
      } else if (name === "ts") this.#madeAtS = cursor.readDoubleOrSkip() ?? null;
      else if (name === "data_parallel_rank" || name === "attn_dp_rank") this.#readRank();
      else cursor.skip();
    }
    if (!isComplete) throw new MalformedError("a batch has no events");
  }

  /** A rank that cannot be one is left out: where the socket says the rank, it is not needed. */
  #readRank(): void {
    const isNumber = this.#cursor.peek() === "integer";
    if (!isNumber) return this.#cursor.skip();
    const rank = this.#cursor.readInteger();
    this.#rank = rank >= 0 && rank < KV_EVENT_LIMITS.ranksMax ? rank : null;
  }

  #readEvents(): void {
    const cursor = this.#cursor;
    for (let left = cursor.readArrayLength(BATCH_EVENTS_MAX); left > 0; left--) {
      // Reading jumps between fields, or breaks off; the structure is known to be sound.
      const from = cursor.position;
      cursor.skip();
      const end = cursor.position;
      cursor.seek(from);
      try {
        this.#readEvent(cursor);
      } catch (error) {
        if (!(error instanceof MalformedError)) throw error;
        this.#skipped.malformed++;
      }
      cursor.seek(end);
    }
  }

  #readEvent(cursor: MsgpackCursor): void {
    if (cursor.peek() !== "bytes") return this.#readPlain(cursor);
    const inner = new MsgpackCursor(cursor.readBytes(BATCH_BYTES_MAX));
    inner.skip();
    if (!inner.isAtEnd) throw new MalformedError("bytes follow a packed event");
    inner.seek(0);
    this.#readPlain(inner);
  }

  #readPlain(cursor: MsgpackCursor): void {
    const tag = this.#fields.locate(cursor);
    if (tag === "BlockStored") {
      const event = readStored(this.#fields);
      if (event === undefined) this.#skipped.unkeyable++;
      else if (event.hashes.length > 0) this.#events.push(event);
    } else if (tag === "BlockRemoved") {
      const hashes = requireHashes(this.#fields);
      const tier = readTier(this.#fields.find("medium"));
      const groupIndex = readGroupIndex(this.#fields);
      if (hashes.length > 0) this.#events.push({ type: "removed", hashes, tier, groupIndex });
    } else if (tag === "AllBlocksCleared") this.#events.push({ type: "cleared" });
    else this.#skipped.unknown++;
  }
}

/** Undefined if the blocks cannot be told apart from others. */
function readStored(fields: EventFields): KvBlocksStored | undefined {
  const hashes = requireHashes(fields);
  const parent = readParent(fields.find("parent_block_hash"));
  const tokens = readTokens(fields.find("token_ids"));
  const size = fields.find("block_size");
  const blockSize = size === undefined ? 0 : readCount(size, KV_EVENT_LIMITS.blockSizeMax);
  const loraName = readName(fields.find("lora_name"));
  if (loraName === null && isAdapter(fields)) return undefined;
  const told = readExtraKeys(fields.find("extra_keys"), hashes.length / 2, loraName);
  if (told === undefined) return undefined;
  const salt = readName(fields.find("cache_salt"));
  const extraKeys = parent === null && salt !== null ? withSalt(told, salt, hashes) : told;
  const tier = readTier(fields.find("medium"));
  const group = readGroup(fields);
  return {
    type: "stored",
    hashes,
    parent,
    tokens,
    blockSize,
    loraName,
    tier,
    extraKeys,
    group,
  };
}

function requireHashes(fields: EventFields): Uint32Array {
  const cursor = fields.find("block_hashes");
  if (cursor === undefined) throw new MalformedError("an event has no block hashes");
  return readHashes(cursor);
}

/** Old engines give an adapter's number and no name. Numbers differ from engine to engine. */
function isAdapter(fields: EventFields): boolean {
  const cursor = fields.find("lora_id");
  if (cursor === undefined) return false;
  return cursor.peek() !== "integer" || cursor.readInteger() !== 0;
}

/** SGLang says the salt beside the blocks. It belongs where vLLM has it: last on the first block. */
function withSalt(told: KvExtraKey[][] | null, salt: string, hashes: Uint32Array): KvExtraKey[][] {
  const blocks = told ?? Array.from({ length: hashes.length / 2 }, (): KvExtraKey[] => []);
  const isTold = blocks[0]?.some((key) => key.kind === "text" && key.text === salt) ?? true;
  if (!isTold) blocks[0]!.push({ kind: "text", text: salt });
  return blocks;
}

function readGroupIndex(fields: EventFields): number | null {
  const cursor = fields.find("group_idx");
  return cursor === undefined ? null : readCount(cursor, KV_EVENT_LIMITS.groupsMax - 1);
}

function readGroup(fields: EventFields): KvCacheGroup | null {
  const index = readGroupIndex(fields);
  if (index === null) return null;
  const kind = readName(fields.find("kv_cache_spec_kind"));
  const window = fields.find("kv_cache_spec_sliding_window");
  const slidingWindow = window === undefined ? null : window.readInteger();
  return { index, kind, slidingWindow };
}
