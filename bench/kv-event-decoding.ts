// Decoding KV events into typed arrays, against the MessagePack library and a conversion of what it gives.

import { Decoder, encode } from "@msgpack/msgpack";
import { decodeBatch } from "../src/agents/collector/kv-events/decode-batch.ts";
import { nanosecondsEach, sink, TIMING, type Measurement, type Timing } from "./measure.ts";

export const KV_EVENT_DECODING_NAME = "kv-event-decoding";

/** A chunk of prefill: 8,192 tokens in blocks of 16. */
const BLOCKS = 512;
const BLOCK_TOKENS = 16;
const VOCABULARY = 150_000;

export async function* measureKvEventDecoding(
  timing: Timing = TIMING,
): AsyncGenerator<Measurement> {
  const payload = batchOfOneChunk();
  const library = new Decoder({ useBigInt64: true });
  const ns = await nanosecondsEach(
    {
      ours: () => {
        const batch = decodeBatch(payload);
        if (batch.ok) sink.value += batch.events.length;
      },
      library: () => void (sink.value += decodeByLibrary(library, payload)),
    },
    timing,
  );
  yield {
    bench: KV_EVENT_DECODING_NAME,
    metric: "ns_per_block",
    value: ns.ours / BLOCKS,
    unit: "ns",
    ratio: ns.ours / ns.library,
    against: "@msgpack/msgpack",
  };
}

/** Only what a good batch of this form needs, without a check. */
function decodeByLibrary(library: Decoder, payload: Uint8Array): number {
  const [, [event]] = library.decode(payload) as [number, [unknown[]]];
  const hashes = event![1] as bigint[];
  const words = new Uint32Array(hashes.length * 2);
  hashes.forEach((hash, i) => {
    words[2 * i] = Number(hash & 0xffff_ffffn);
    words[2 * i + 1] = Number(hash >> 32n);
  });
  const tokens = Uint32Array.from(event![3] as number[]);
  return words.length + tokens.length;
}

function batchOfOneChunk(): Uint8Array {
  const hashes = Array.from({ length: BLOCKS }, (_, i) => {
    return BigInt.asUintN(64, BigInt(i + 1) * 0x9e37_79b9_7f4a_7c15n) | (1n << 63n);
  });
  const tokens = Array.from({ length: BLOCKS * BLOCK_TOKENS }, (_, i) => (i * 7_919) % VOCABULARY);
  const event = ["BlockStored", hashes, null, tokens, BLOCK_TOKENS, null, "GPU", null, null];
  return encode([1_767_225_600.5, [event], 0], { useBigInt64: true });
}
