// What a content key costs the pool's object, from a frame's bytes to its index, beside JSON into Maps of
// Sets; what it costs the collector; and what the index weighs.
//
// Keys come and go by turns, as prompts are stored and evicted.

import { EndpointMirror } from "../../src/agents/collector/kv-stream/endpoint-mirror.ts";
import { SectionBuffer } from "../../src/agents/collector/kv-stream/section-buffer.ts";
import { framePayload } from "../../src/agents/protocol/codec.ts";
import { decodeKv, encodeKv } from "../../src/agents/protocol/kv-frames.ts";
import { HELD_ON_GPU, NOT_HELD } from "../../src/scheduler/kv/residency/holding.ts";
import { RESIDENT_INDEX_LIMITS, ResidentIndex } from "../../src/scheduler/kv/resident-index.ts";
import { createRng } from "../../src/scheduler/support/rng.ts";
import { type Measurement, nanosecondsEach, sink, type Timing, TIMING } from "../measure.ts";

export const KV_STREAM_NAME = "kv-stream";
const AGAINST = "JSON into Maps of Sets";
/** Keys of a frame: half of them come, half go. */
const FRAME_KEYS = 4_096;
const PLACE = { version: 2, seq: 1 };

/** `keys`: how many come and go; half of them are held at a time. */
export async function* measureKvIngest(
  keys = 262_144,
  timing: Timing = TIMING,
): AsyncGenerator<Measurement> {
  const frames = createFrames(Math.max(4, Math.floor((keys * 2) / FRAME_KEYS)));
  const index = new ResidentIndex();
  const lane = index.openLane(0);
  index.answer(lane);
  const naive = new Map<string, Set<number>>();
  const mirror = new EndpointMirror();
  const buffer = new SectionBuffer();
  mirror.begin();
  const at = { ours: 0, naive: 0, collector: 0 };
  const ns = await nanosecondsEach(
    {
      ours: () => apply(index, lane, frames[at.ours++ % frames.length]!.binary),
      naive: () => applyNaively(naive, frames[at.naive++ % frames.length]!.json),
      collector: () => tell(mirror, buffer, frames[at.collector++ % frames.length]!),
    },
    timing,
  );
  sink.value += naive.size;
  const figure = { bench: KV_STREAM_NAME, unit: "ns" };
  const value = ns.ours / FRAME_KEYS;
  const ratio = ns.ours / ns.naive;
  yield { ...figure, metric: "object_ns_per_key", value, ratio, against: AGAINST };
  const toldNs = ns.collector / FRAME_KEYS;
  yield { ...figure, metric: "collector_ns_per_key", value: toldNs, ratio: null, against: null };
}

/**
 * The index with so many pairs, of blocks with one holder each, and with two: bytes of a pair, and how many pairs
 * there were, to a frame, before the first was shed or left out.
 */
export function* measureKvMemory(
  pairs = 2_000_000,
  bytesMax: number = RESIDENT_INDEX_LIMITS.bytesMax,
): Generator<Measurement> {
  const figure = { bench: KV_STREAM_NAME, ratio: null, against: null };
  for (const holders of [1, 2]) {
    const index = new ResidentIndex({ bytesMax });
    const lanes = Array.from({ length: holders }, (_, slot) => index.openLane(slot));
    const rng = createRng(7);
    let bytes: number | undefined;
    let held = 0;
    while (index.counts.shed + index.counts.leftOut === 0) {
      held = index.pairCount;
      if (held >= pairs) bytes ??= index.byteLength / held;
      const keys = Uint32Array.from({ length: FRAME_KEYS * 2 }, () => word(rng));
      const ends = Uint16Array.from({ length: FRAME_KEYS }, (_, i) => i & 0x7fff);
      for (const lane of lanes)
        index.hold(lane, { keys, onGpuCount: FRAME_KEYS, belowCount: 0, ends });
    }
    bytes ??= index.byteLength / index.pairCount;
    yield { ...figure, metric: `bytes_per_pair_${holders}_holders`, value: bytes, unit: "B" };
    yield { ...figure, metric: `pairs_held_${holders}_holders`, value: held, unit: "count" };
  }
}

interface Frame {
  readonly binary: Uint8Array;
  readonly json: string;
  readonly keys: Uint32Array;
}

/** Each frame adds a half of its keys, and takes away what the one half a round before it has added. */
function createFrames(count: number): Frame[] {
  const rng = createRng(5);
  const halves = Array.from({ length: count }, () =>
    Uint32Array.from({ length: FRAME_KEYS }, () => word(rng)),
  );
  return halves.map((added, i) => {
    const gone = halves[(i + (count >>> 1)) % count]!;
    const keys = new Uint32Array(FRAME_KEYS * 2);
    keys.set(added);
    keys.set(gone, FRAME_KEYS);
    const ends = Uint16Array.from({ length: FRAME_KEYS / 2 }, (_, key) => key * 8);
    const section = {
      stream: 1,
      seq: 0,
      begins: false,
      completes: false,
      belowCount: 0,
      keys,
      ends,
    };
    const binary = encodeKv(PLACE, [{ ...section, onGpuCount: FRAME_KEYS / 2 }]);
    const json = JSON.stringify({ added: textsOf(added), gone: textsOf(gone) });
    return { binary, json, keys };
  });
}

function apply(index: ResidentIndex, lane: number, frame: Uint8Array): void {
  const decoded = decodeKv(framePayload(frame));
  if (!decoded.ok) throw new Error(decoded.error);
  for (const section of decoded.value) index.hold(lane, section);
}

function applyNaively(index: Map<string, Set<number>>, json: string): void {
  const { added, gone } = JSON.parse(json) as { added: string[]; gone: string[] };
  for (const key of added) {
    const holders = index.get(key);
    if (holders === undefined) index.set(key, new Set([0]));
    else holders.add(0);
  }
  for (const key of gone) {
    const holders = index.get(key);
    holders?.delete(0);
    if (holders?.size === 0) index.delete(key);
  }
}

function tell(mirror: EndpointMirror, buffer: SectionBuffer, { keys }: Frame): void {
  for (let i = 0; i < keys.length; i += 2) {
    mirror.held(0, keys[i]!, keys[i + 1]!, i < FRAME_KEYS ? HELD_ON_GPU : NOT_HELD);
  }
  for (;;) {
    buffer.clear(FRAME_KEYS);
    const flags = mirror.take(buffer);
    if (flags === undefined) return;
    const frame = encodeKv(PLACE, [{ stream: 1, seq: 0, ...flags, ...buffer.keys(endOf) }]);
    sink.value += frame.byteLength;
  }
}

const endOf = (keys: Uint32Array, at: number) => keys[at]! & 0x7fff;

function textsOf(keys: Uint32Array): string[] {
  return Array.from({ length: keys.length / 2 }, (_, i) => `${keys[i * 2]}:${keys[i * 2 + 1]}`);
}

function word(rng: () => number): number {
  return Math.floor(rng() * 2 ** 32);
}
