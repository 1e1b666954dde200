// The digest of what pools' caches hold: size against accuracy, freshness against accuracy, and what it costs.
//
// Three pools of eight endpoints serve a replay. What a digest says of each request is compared with
// what the pools hold: by size, of digests as of that moment; by age, of digests in their default size.

import { BlockTable, type KeyTable } from "../src/scheduler/kv/block-table.ts";
import { CacheDigestBuilder } from "../src/scheduler/kv/digest/cache-digest-builder.ts";
import { CacheDigest } from "../src/scheduler/kv/digest/cache-digest.ts";
import { DIGEST_SLICE_KEYS } from "../src/scheduler/kv/digest/live-digest.ts";
import { CACHE_DIGEST_LIMITS } from "../src/scheduler/kv/digest/layout.ts";
import { createRng } from "../src/scheduler/support/rng.ts";
import { CANDIDATES, digestOf, type Matcher } from "./digest/candidates.ts";
import { chatRequests, Replay, type ReplayedRequest, traceRequests } from "./digest/replay.ts";
import { Score } from "./digest/score.ts";
import { type Measurement, nanosecondsEach, sink, type Timing, TIMING } from "./measure.ts";

export const DIGEST_NAME = "digest";

const DEFAULT_BYTES = CACHE_DIGEST_LIMITS.bytesDefault;
const SIZES_KIB = [2, 8, 32, 128];
/** Structures are compared in the default size, and in one that is scarce. */
const COMPARED_KIB = [8, 32];
const AGES_S = [0.5, 1, 2, 5, 10];
/** How often digests are taken, for their ages. */
const TAKEN_EACH_MS = 500;
/** Of the requests, those that only fill the caches. */
const WARM_UP_SHARE = 0.5;
/** After so many requests all digests are made anew, and asked for so many. */
const CHECK_EACH = 300;
const CHECKED = 50;
/** Many times the trace's own rate: ages are to hurt. */
const TRACE_SPEED = 8;
const CHAT_RATE = 30;

interface Scenario {
  readonly name: string;
  readonly requests: readonly ReplayedRequest[];
  /** Blocks of an endpoint: 8,192 are half a million tokens. */
  readonly blocksMax: number;
}

/** `share`: of the requests, for a quick look. */
export async function* measureDigest(
  share = 1,
  timing: Timing = TIMING,
): AsyncGenerator<Measurement> {
  const trace = firstOf(traceRequests(TRACE_SPEED), share);
  const chat = firstOf(chatRequests(CHAT_RATE, 12_000), share);
  const scenarios = [
    { name: "trace", requests: trace, blocksMax: 8_192 },
    { name: "trace_large", requests: trace, blocksMax: 65_536 },
    { name: "chat", requests: chat, blocksMax: 8_192 },
  ];
  for (const scenario of scenarios) yield* measureSizes(scenario);
  for (const scenario of [scenarios[0]!, scenarios[2]!]) yield* measureAges(scenario);
  yield* measureCost(timing);
}

function firstOf<T>(all: readonly T[], share: number): readonly T[] {
  return all.slice(0, Math.ceil(all.length * share));
}

type Digests = readonly Matcher[];

function* measureSizes({ name, requests, blocksMax }: Scenario): Generator<Measurement> {
  const replay = new Replay(blocksMax);
  const scores = new Map<string, { score: Score; rates: number[] }>();
  const warmUp = Math.floor(requests.length * WARM_UP_SHARE);
  for (const [i, request] of requests.entries()) {
    if (i >= warmUp && (i - warmUp) % CHECK_EACH === 0) {
      checkSizes(replay, requests.slice(i, i + CHECKED), scores);
    }
    replay.serve(request);
  }
  const of = (label: string) => scores.get(label)!;
  const blocks = replay.pools[0]!.tree.blockCount;
  const reference = of(labelOf("bloom", DEFAULT_BYTES / 1024)).score;
  yield row(`${name}_blocks`, blocks, "blocks");
  yield row(`${name}_to_find`, reference.meanHeldTokens, "tokens");
  yield row(`${name}_found_blindly`, 100 * reference.blindShare, "%");
  for (const [label, { score, rates }] of scores) {
    const [structure, kib] = label.split("/");
    const isOurs = structure === "bloom";
    const against = isOurs ? undefined : of(labelOf("bloom", Number(kib))).score;
    const title = `${name}_${kib}k${isOurs ? "" : `_${structure}`}`;
    const rate = rates.reduce((sum, each) => sum + each, 0) / rates.length;
    yield row(`${title}_wrong_yes`, 100 * rate, "%");
    if (isOurs) yield row(`${title}_too_much`, score.overTokens, "tokens");
    yield row(`${title}_off`, score.offTokens, "tokens", against?.offTokens);
    yield row(`${title}_found`, 100 * score.hitShare, "%");
  }
}

function checkSizes(
  replay: Replay,
  asked: readonly ReplayedRequest[],
  scores: Map<string, { score: Score; rates: number[] }>,
): void {
  for (const structure of Object.keys(CANDIDATES) as (keyof typeof CANDIDATES)[]) {
    for (const kib of structure === "bloom" ? SIZES_KIB : COMPARED_KIB) {
      const digests = replay.pools.map(({ tree }) => CANDIDATES[structure](tree.keys, kib * 1024));
      const label = labelOf(structure, kib);
      const kept = scores.get(label) ?? { score: new Score(), rates: [] };
      scores.set(label, kept);
      kept.rates.push(...digests.map((digest) => digest.falsePositiveRate));
      for (const { keys } of asked) kept.score.add(says(digests, keys), replay.held(keys));
    }
  }
}

function labelOf(structure: string, kib: number): string {
  return `${structure}/${kib}`;
}

function says(digests: Digests, keys: Uint32Array): number[] {
  return digests.map((digest) => digest.matchedBlocks(keys));
}

function* measureAges({ name, requests, blocksMax }: Scenario): Generator<Measurement> {
  const replay = new Replay(blocksMax);
  const fresh = new Score();
  const scores = AGES_S.map(() => new Score());
  /** Newest last. */
  let taken: { readonly atMs: number; readonly digests: Digests }[] = [];
  const warmUp = Math.floor(requests.length * WARM_UP_SHARE);
  const oldestMs = Math.max(...AGES_S) * 1_000;
  const fromMs = requests[warmUp]!.atMs;
  for (const [i, request] of requests.entries()) {
    const { atMs, keys } = request;
    const take = () => replay.pools.map(({ tree }) => digestOf(tree.keys, DEFAULT_BYTES));
    const isDue = atMs - (taken.at(-1)?.atMs ?? -Infinity) >= TAKEN_EACH_MS;
    if (atMs >= fromMs - oldestMs - TAKEN_EACH_MS && isDue) {
      taken = [
        ...taken.filter((each) => atMs - each.atMs <= 2 * oldestMs),
        { atMs, digests: take() },
      ];
    }
    if (i >= warmUp) {
      const held = replay.held(keys);
      AGES_S.forEach((ageS, a) => {
        const old = taken.findLast((each) => atMs - each.atMs >= ageS * 1_000);
        if (old !== undefined) scores[a]!.add(says(old.digests, keys), held);
      });
      fresh.add(held, held);
    }
    replay.serve(request);
  }
  for (const [a, ageS] of AGES_S.entries()) {
    yield row(`${name}_${ageS}s_old_off`, scores[a]!.offTokens, "tokens");
    yield row(`${name}_${ageS}s_old_found`, 100 * scores[a]!.hitShare, "%");
  }
}

const MILLION = 1_000_000;
const PROMPT_BLOCKS = 100;

/** Of a pool with a million blocks. */
async function* measureCost(timing: Timing): AsyncGenerator<Measurement> {
  const table = randomTable(MILLION);
  const piece = new Uint32Array(DIGEST_SLICE_KEYS * 2);
  const builder = new CacheDigestBuilder({ keyCount: MILLION });
  const held = table.readKeys(0, new Uint32Array(PROMPT_BLOCKS * 2)).keys;
  const prompt = Uint32Array.from(held);
  const small = new BlockTable(1024 * 1024);
  for (let at = 0; at < prompt.length; at += 2) put(small, prompt[at]!, prompt[at + 1]!);
  const digest = digestOf(small, DEFAULT_BYTES);
  const absent = randomKeys(createRng(99), PROMPT_BLOCKS);
  const names = new Set<bigint>();
  for (let at = 0; at < prompt.length; at += 2) names.add(nameOf(prompt, at));
  const bytes = builder.encode();
  const times = await nanosecondsEach(
    {
      slice: () => builder.addKeys(table.readKeys(0, piece).keys),
      walk: () => void (sink.value += digest.matchedBlocks(prompt)),
      absent: () => void (sink.value += digest.matchedBlocks(absent)),
      set: () => void (sink.value += matchedInSet(names, prompt)),
      decode: () => void (sink.value += CacheDigest.decode(bytes)!.sampling),
    },
    timing,
  );
  const walkUs = times.walk / 1e3;
  yield row("slice_us", times.slice / 1e3, "us");
  yield row("million_keys_ms", (times.slice / 1e6) * (MILLION / DIGEST_SLICE_KEYS), "ms");
  yield row("decode_us", times.decode / 1e3, "us");
  yield {
    ...row("match_100_blocks_us", walkUs, "us", times.set / 1e3),
    against: "Set<bigint>",
  };
  yield row("no_match_us", times.absent / 1e3, "us");
}

function randomTable(count: number): KeyTable {
  const table = new BlockTable(64 * 1024 * 1024);
  const keys = randomKeys(createRng(7), count);
  for (let at = 0; at < keys.length; at += 2) put(table, keys[at]!, keys[at + 1]!);
  return table;
}

function randomKeys(rng: () => number, count: number): Uint32Array {
  return Uint32Array.from({ length: count * 2 }, () => rng() * 2 ** 32);
}

function put(table: BlockTable, low: number, high: number): void {
  table.setPayload(table.add(low, high), 1);
}

function nameOf(keys: Uint32Array, at: number): bigint {
  return (BigInt(keys[at + 1]!) << 32n) | BigInt(keys[at]!);
}

function matchedInSet(names: ReadonlySet<bigint>, keys: Uint32Array): number {
  let at = 0;
  while (at < keys.length && names.has(nameOf(keys, at))) at += 2;
  return at / 2;
}

function row(metric: string, value: number, unit: string, against?: number): Measurement {
  const ratio = against === undefined ? null : value / against;
  return {
    bench: DIGEST_NAME,
    metric,
    value,
    unit,
    ratio,
    against: against === undefined ? null : "the digest",
  };
}
