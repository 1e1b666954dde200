// Batches as engines publish them, and hashes in a form that tests can read.

import { readFileSync } from "node:fs";
import { encode } from "@msgpack/msgpack";

interface Vectors {
  readonly batches: Readonly<Record<string, { readonly says: string; readonly hex: string }>>;
  readonly live: Readonly<Record<string, string>>;
  readonly replay: Readonly<Record<string, readonly string[]>>;
  readonly hashes: readonly string[];
}

export const VECTORS = JSON.parse(
  readFileSync(new URL("../../../../fixtures/kv-event-batches.json", import.meta.url), "utf8"),
) as Vectors;

/** A payload of the vectors, M1 to M10. */
export function vector(name: string): Uint8Array {
  return Buffer.from(VECTORS.batches[name]!.hex, "hex");
}

/** A batch in its positional form. Integers beyond 32 bits are given as bigint. */
export function packBatch(events: readonly unknown[], rank: number | null = 0, ts = 1.5): Buffer {
  return pack([ts, events, rank]);
}

export function pack(value: unknown): Buffer {
  return Buffer.from(encode(value, { useBigInt64: true }));
}

/** Pairs of words as big-endian hex, 16 digits a hash. */
export function hexOf(words: Uint32Array | null): string[] {
  if (words === null) return [];
  return Array.from({ length: words.length / 2 }, (_, i) => {
    const hash = (BigInt(words[2 * i + 1]!) << 32n) | BigInt(words[2 * i]!);
    return hash.toString(16).padStart(16, "0");
  });
}

export const tokensTo = (end: number, from = 0) =>
  Array.from({ length: end - from }, (_, i) => from + i);
