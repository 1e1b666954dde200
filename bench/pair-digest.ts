// The digest over (content key, endpoint) pairs that isolates have of a pool: size against accuracy, freshness
// against accuracy, and what a look-up costs.
//
// One pool serves a replay. What an isolate's copy says of each endpoint and request is compared with what the
// endpoints hold: by size and number of endpoints, of copies as of that moment; by age, of copies in the default
// size.

import { PairDigest } from "../src/scheduler/edge/pair-digest.ts";
import { GONE_SHARE_MAX, PAIR_DIGEST_BYTES } from "../src/scheduler/edge/pair-digest-source.ts";
import { LiveDigest } from "../src/scheduler/kv/digest/live-digest.ts";
import { CacheDigestBuilder } from "../src/scheduler/kv/digest/cache-digest-builder.ts";
import { pairHigh } from "../src/scheduler/kv/pair-words.ts";
import { createRng } from "../src/scheduler/support/rng.ts";
import { eachKey } from "./digest/candidates.ts";
import { PairScore } from "./digest/pair-score.ts";
import {
  chatRequests,
  ReplayedPool,
  type ReplayedRequest,
  traceRequests,
} from "./digest/replay.ts";
import { type Measurement, nanosecondsEach, sink, type Timing, TIMING } from "./measure.ts";

export const PAIR_DIGEST_NAME = "pair-digest";

const ENDPOINTS = [16, 64, 256];
const SIZES_KIB = [32, 64, 128, 256];
const AGES_S = [0.1, 0.25, 0.5, 1, 2, 5, 10];
const TAKEN_EACH_MS = 100;
/** Blocks of an endpoint: half a million tokens. */
const BLOCKS_MAX = 8_192;
/** Of the requests, those that only fill the caches. */
const WARM_UP_SHARE = 0.5;
/** After so many requests all copies are made anew, and asked for so many. */
const CHECK_EACH = 600;
const CHECKED = 50;
const TRACE_SPEED = 8;
const CHAT_RATE = 30;
const PROMPT_BLOCKS = 128;
/** Of a prompt that every endpoint has the first blocks of: a system prompt. */
const SHARED_BLOCKS = 16;

/** `share`: of the requests, for a quick look. */
export async function* measurePairDigest(
  share = 1,
  timing: Timing = TIMING,
): AsyncGenerator<Measurement> {
  const trace = firstOf(traceRequests(TRACE_SPEED), share);
  const chat = firstOf(chatRequests(CHAT_RATE, 12_000), share);
  for (const endpoints of ENDPOINTS) yield* measureSizes(`trace_${endpoints}`, trace, endpoints);
  yield* measureSizes("chat_64", chat, 64);
  yield* measureAges("trace_64", trace);
  yield* measureAges("chat_64", chat);
  yield* measureCost(timing);
}

function firstOf<T>(all: readonly T[], share: number): readonly T[] {
  return all.slice(0, Math.ceil(all.length * share));
}

function copyOf(pool: ReplayedPool, bytesMax: number): PairDigest {
  const { pairs } = pool.tree;
  const builder = new CacheDigestBuilder({ keyCount: pairs.size, bytesMax });
  eachKey(pairs, (low, high) => builder.add(low, high));
  return PairDigest.decode(builder.encode())!;
}

function* measureSizes(
  name: string,
  requests: readonly ReplayedRequest[],
  endpoints: number,
): Generator<Measurement> {
  const pool = new ReplayedPool(BLOCKS_MAX, 10, endpoints);
  const scores = SIZES_KIB.map(() => new PairScore(endpoints));
  const rates = SIZES_KIB.map(() => [] as number[]);
  const warmUp = Math.floor(requests.length * WARM_UP_SHARE);
  for (const [i, { keys }] of requests.entries()) {
    if (i >= warmUp && (i - warmUp) % CHECK_EACH === 0) {
      for (const [s, kib] of SIZES_KIB.entries()) {
        const copy = copyOf(pool, kib * 1024);
        rates[s]!.push(copy.falsePositiveRate);
        for (const asked of requests.slice(i, i + CHECKED))
          scores[s]!.add(copy, pool.heldBy(asked.keys), asked.keys);
      }
    }
    pool.serve(keys);
  }
  yield row(`${name}_pairs`, pool.tree.pairs.size, "pairs");
  yield row(`${name}_to_find`, scores[0]!.meanHeldTokens, "tokens");
  for (const [s, kib] of SIZES_KIB.entries()) {
    const rate = rates[s]!.reduce((sum, each) => sum + each, 0) / rates[s]!.length;
    yield row(`${name}_${kib}k_wrong_yes`, 100 * rate, "%");
    yield row(`${name}_${kib}k_off`, scores[s]!.offTokens, "tokens");
    yield row(`${name}_${kib}k_found`, 100 * scores[s]!.hitShare, "%");
    yield row(`${name}_${kib}k_asked_in_vain`, 100 * scores[s]!.inVainShare, "%");
  }
}

function* measureAges(name: string, requests: readonly ReplayedRequest[]): Generator<Measurement> {
  const endpoints = 64;
  const pool = new ReplayedPool(BLOCKS_MAX, 10, endpoints);
  const digest = liveDigest(pool);
  const scores = AGES_S.map(() => new PairScore(endpoints));
  /** Newest last. */
  let taken: { readonly atMs: number; readonly copy: PairDigest }[] = [];
  const warmUp = Math.floor(requests.length * WARM_UP_SHARE);
  const oldestMs = Math.max(...AGES_S) * 1_000;
  const fromMs = requests[warmUp]!.atMs;
  for (const [i, { atMs, keys }] of requests.entries()) {
    const isDue = atMs - (taken.at(-1)?.atMs ?? -Infinity) >= TAKEN_EACH_MS;
    if (isDue && atMs >= fromMs - oldestMs - 1_000) {
      digest.renew();
      taken = taken.filter((each) => atMs - each.atMs <= oldestMs + 1_000);
      taken.push({ atMs, copy: PairDigest.decode(digest.builder!.encode())! });
    }
    if (i >= warmUp) {
      const held = pool.heldBy(keys);
      for (const [a, ageS] of AGES_S.entries()) {
        const old = taken.findLast((each) => atMs - each.atMs >= ageS * 1_000);
        if (old !== undefined) scores[a]!.add(old.copy, held, keys);
      }
    }
    pool.serve(keys);
  }
  for (const [a, ageS] of AGES_S.entries()) {
    yield row(`${name}_${ageS}s_old_off`, scores[a]!.offTokens, "tokens");
    yield row(`${name}_${ageS}s_old_found`, 100 * scores[a]!.hitShare, "%");
  }
}

/** As the object keeps it; built at once. */
function liveDigest(pool: ReplayedPool): LiveDigest {
  return new LiveDigest({
    tables: () => [pool.tree.pairs],
    isComplete: () => true,
    defer: (callback) => callback(),
    goneShareMax: GONE_SHARE_MAX,
    bytesMax: PAIR_DIGEST_BYTES,
    onBuilt: () => {},
  });
}

async function* measureCost(timing: Timing): AsyncGenerator<Measurement> {
  const prompt = randomKeys(1, PROMPT_BLOCKS);
  const [likely, bounds] = [new Int32Array(1024), new Int32Array(1024)];
  for (const endpoints of ENDPOINTS) {
    const some = filled(
      endpoints,
      (slot, block) => block < SHARED_BLOCKS || slot % 16 === 3,
      prompt,
    );
    const all = filled(endpoints, () => true, prompt);
    const look = (digest: PairDigest) => {
      digest.ask(prompt);
      for (let slot = 0; slot < endpoints; slot++) digest.match(slot, likely, bounds);
      sink.value += likely[3]!;
    };
    const times = await nanosecondsEach({ some: () => look(some), all: () => look(all) }, timing);
    yield row(`match_${PROMPT_BLOCKS}_blocks_${endpoints}_us`, times.some / 1e3, "us");
    yield row(`match_all_hold_${endpoints}_us`, times.all / 1e3, "us");
  }
  const digest = filled(64, () => true, prompt);
  const bytes = new CacheDigestBuilder({ keyCount: 131_072, bytesMax: PAIR_DIGEST_BYTES }).encode();
  const words = randomKeys(5, 500);
  const times = await nanosecondsEach(
    {
      decode: () => void (sink.value += PairDigest.decode(bytes)!.byteLength),
      add: () => digest.add(words),
    },
    timing,
  );
  yield row("decode_us", times.decode / 1e3, "us");
  yield row("add_500_pairs_us", times.add / 1e3, "us");
}

/** A digest of 131,072 pairs, 8 bits each, and the prompt's blocks where `holds` says so. */
function filled(
  endpoints: number,
  holds: (slot: number, block: number) => boolean,
  prompt: Uint32Array,
): PairDigest {
  const builder = new CacheDigestBuilder({ keyCount: 131_072, bytesMax: PAIR_DIGEST_BYTES });
  builder.addKeys(randomKeys(9, 131_072 - PROMPT_BLOCKS * 16));
  for (let slot = 0; slot < endpoints; slot++)
    for (let block = 0; block < PROMPT_BLOCKS; block++)
      if (holds(slot, block))
        builder.add(prompt[block * 2]!, pairHigh(prompt[block * 2 + 1]!, slot));
  return PairDigest.decode(builder.encode())!;
}

function randomKeys(seed: number, count: number): Uint32Array {
  const rng = createRng(seed);
  return Uint32Array.from({ length: count * 2 }, () => rng() * 2 ** 32);
}

function row(metric: string, value: number, unit: string): Measurement {
  return { bench: PAIR_DIGEST_NAME, metric, value, unit, ratio: null, against: null };
}
