import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CONTENT_KEYS_MAX } from "../../../src/scheduler/kv/content-keys.ts";
import {
  CHUNK_BYTES_MAX,
  decodeJournalChunk,
  JournalChunk,
} from "../../../src/scheduler/kv/journal-chunk.ts";

const NOW_MS = 1_790_000_000_000;
const HEADER_BYTES = 12;
const RECORD_HEADER_BYTES = 8;

function keys(blocks: number, from = 1): Uint32Array {
  return Uint32Array.from({ length: blocks * 2 }, (_, i) => from + i);
}

function sealed(): Uint8Array<ArrayBuffer> {
  const chunk = new JournalChunk();
  chunk.append({ endpoint: 7, isRemoval: false, keys: keys(3) });
  chunk.append({ endpoint: 8, isRemoval: true, keys: keys(1, 0xffff_fff0) });
  return chunk.seal(NOW_MS);
}

describe("a journal chunk", () => {
  it("gives back its records in order", () => {
    const record = fc.record({
      endpoint: fc.integer({ min: 1, max: 0xffff_ffff }),
      isRemoval: fc.boolean(),
      keys: fc.uint32Array({ minLength: 1, maxLength: 100 }).map((words) => {
        return new Uint32Array([...words, ...words]);
      }),
    });
    fc.assert(
      fc.property(fc.array(record, { maxLength: 50 }), (records) => {
        const chunk = new JournalChunk();
        for (const each of records) chunk.append(each);
        const decoded = decodeJournalChunk(chunk.seal(NOW_MS));
        expect(decoded?.writtenAtMs).toBe(NOW_MS);
        expect(decoded?.records).toEqual(records);
      }),
    );
  });

  it("may be sealed, appended to and sealed again", () => {
    const chunk = new JournalChunk();
    chunk.append({ endpoint: 1, isRemoval: false, keys: keys(2) });
    const first = chunk.seal(NOW_MS);
    chunk.append({ endpoint: 2, isRemoval: false, keys: keys(4) });
    expect(decodeJournalChunk(first)?.records).toHaveLength(1);
    expect(decodeJournalChunk(chunk.seal(NOW_MS))?.records).toHaveLength(2);
    chunk.clear();
    expect([chunk.isEmpty, decodeJournalChunk(chunk.seal(NOW_MS))?.records]).toEqual([true, []]);
  });

  it("says how much room it has, to the last block", () => {
    const chunk = new JournalChunk();
    expect(chunk.roomBlocks).toBe(CONTENT_KEYS_MAX);
    let blocks = 0;
    let records = 0;
    for (let room = chunk.roomBlocks; room > 0; room = chunk.roomBlocks) {
      chunk.append({ endpoint: 1, isRemoval: false, keys: keys(room) });
      blocks += room;
      records += 1;
    }
    expect(chunk.byteLength).toBe(HEADER_BYTES + records * RECORD_HEADER_BYTES + blocks * 8);
    expect(CHUNK_BYTES_MAX - chunk.byteLength).toBeLessThan(RECORD_HEADER_BYTES + 8);
    expect(decodeJournalChunk(chunk.seal(NOW_MS))?.records).toHaveLength(records);
  });

  it("is refused when any one byte of it differs", () => {
    const bytes = sealed();
    const at = fc.integer({ min: 0, max: bytes.length - 1 });
    fc.assert(
      fc.property(at, fc.integer({ min: 1, max: 255 }), (index, bits) => {
        const damaged = bytes.slice();
        damaged[index]! ^= bits;
        expect(decodeJournalChunk(damaged)).toBeUndefined();
      }),
    );
  });

  it.for([
    ["nothing", undefined],
    ["text", "prefix"],
    ["no bytes", new Uint8Array()],
    ["half a chunk", sealed().slice(0, 24)],
    ["a chunk and a bit", new Uint8Array([...sealed(), 1, 2, 3])],
    ["too much", new Uint8Array(CHUNK_BYTES_MAX + 4)],
  ])("is not read from %s", ([, stored]) => {
    expect(decodeJournalChunk(stored)).toBeUndefined();
  });

  it("is read from bytes that do not start at a word", () => {
    const bytes = sealed();
    const shifted = new Uint8Array(bytes.length + 1);
    shifted.set(bytes, 1);
    expect(decodeJournalChunk(shifted.subarray(1))?.records).toHaveLength(2);
  });
});
