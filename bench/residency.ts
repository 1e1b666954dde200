// KV events to content keys, beside Maps of Sets: what an engine block costs.
//
// An engine stores prompts and evicts those from some time before, tail first, as vLLM does. What the
// content became is known of every prompt, so each block does all the work there is.

import { ContentResidency } from "../src/scheduler/kv/residency/content-residency.ts";
import type { HoldingSink } from "../src/scheduler/kv/residency/holding.ts";
import type { KvBlocksRemoved, KvBlocksStored } from "../src/scheduler/kv/residency/kv-event.ts";
import { Rekeyer } from "../src/scheduler/kv/residency/rekeyer.ts";
import { tokenBlockKeys } from "../src/scheduler/kv/residency/token-keys.ts";
import { createRng } from "../src/scheduler/support/rng.ts";
import { type Measurement, nanosecondsEach, sink, type Timing, TIMING } from "./measure.ts";
import { NaiveResidency } from "./naive-residency.ts";
import { measureSharedPrefix } from "./shared-prefix.ts";

export const RESIDENCY_NAME = "kv-residency";
const AGAINST = "Maps of Sets";
const BLOCK_TOKENS = 16;
const PROMPT_BLOCKS = 128;
/** Token blocks of a content block. */
const SPAN_BLOCKS = 4;
const VOCABULARY = 150_000;

interface Prompt {
  readonly stored: KvBlocksStored;
  readonly removed: KvBlocksRemoved;
  readonly contentKeys: Uint32Array;
}

/**
 * `blocks`: how many engine blocks the prompts have together, of which half are held at a time.
 * `conversations`: how many share a system prompt, besides.
 */
export async function* measureResidency(
  blocks = 262_144,
  timing: Timing = TIMING,
  conversations = 20_000,
): AsyncGenerator<Measurement> {
  const prompts = createPrompts(Math.max(4, Math.floor(blocks / PROMPT_BLOCKS)));
  const told: HoldingSink = { held: () => void sink.value++ };
  const contents = new ContentResidency(told);
  const rekeyer = new Rekeyer(0, contents);
  const naive = new NaiveResidency();
  const ends = Uint32Array.from(
    { length: PROMPT_BLOCKS / SPAN_BLOCKS },
    (_, i) => (i + 1) * SPAN_BLOCKS,
  );
  for (const { stored, contentKeys } of prompts) {
    const { tokens, blockSize } = stored;
    const tokenKeys = tokenBlockKeys({ adapter: null, tokens, blockSize, extraKeys: [] });
    contents.learn({ contentKeys, tokenKeys, ends });
    naive.learn(
      Array.from(ends, (_, i) => `${contentKeys[i * 2]}:${contentKeys[i * 2 + 1]}`),
      naive.keysOf(stored),
      SPAN_BLOCKS,
    );
  }
  const half = prompts.length >>> 1;
  const at = { ours: 0, naive: 0 };
  for (; at.ours < half; at.ours++) rekeyer.stored(prompts[at.ours]!.stored);
  for (; at.naive < half; at.naive++) naive.stored(0, prompts[at.naive]!.stored);
  const ns = await nanosecondsEach(
    {
      ours: () => {
        rekeyer.removed(prompts[(at.ours - half) % prompts.length]!.removed);
        rekeyer.stored(prompts[at.ours++ % prompts.length]!.stored);
      },
      naive: () => {
        naive.removed(0, prompts[(at.naive - half) % prompts.length]!.removed.hashes);
        naive.stored(0, prompts[at.naive++ % prompts.length]!.stored);
      },
    },
    timing,
  );
  sink.value += naive.changes;
  const figure = { bench: RESIDENCY_NAME, against: AGAINST };
  // A call stores one prompt and removes one.
  const value = ns.ours / (2 * PROMPT_BLOCKS);
  yield { ...figure, metric: "ns_per_block", value, unit: "ns", ratio: ns.ours / ns.naive };
  const bytes = (contents.byteLength + rekeyer.byteLength) / (prompts.length * PROMPT_BLOCKS);
  yield {
    ...figure,
    metric: "bytes_per_block",
    value: bytes,
    unit: "B",
    ratio: null,
    against: null,
  };
  yield* measureShared(conversations, timing);
}

async function* measureShared(conversations: number, timing: Timing): AsyncGenerator<Measurement> {
  const shared = await measureSharedPrefix(conversations, timing);
  const figure = { bench: RESIDENCY_NAME, ratio: null, against: null };
  yield { ...figure, metric: "ns_per_shared_event", value: shared.nsPerEvent, unit: "ns" };
  const held = shared.nsPerHeldEvent;
  yield { ...figure, metric: "ns_per_shared_event_200_held", value: held, unit: "ns" };
  const percent = shared.knownShare * 100;
  yield { ...figure, metric: "percent_known_of_sharing", value: percent, unit: "%" };
}

function createPrompts(count: number): Prompt[] {
  const rng = createRng(11);
  const word = () => Math.floor(rng() * 2 ** 32);
  const words = (length: number) => Uint32Array.from({ length }, word);
  return Array.from({ length: count }, () => {
    const hashes = words(PROMPT_BLOCKS * 2);
    const tokens = words(PROMPT_BLOCKS * BLOCK_TOKENS).map((value) => value % VOCABULARY);
    const stored: KvBlocksStored = {
      type: "stored",
      hashes,
      parent: null,
      tokens,
      blockSize: BLOCK_TOKENS,
      loraName: null,
      tier: "gpu",
      extraKeys: null,
      group: null,
    };
    const removed: KvBlocksRemoved = {
      type: "removed",
      hashes: tailFirst(hashes),
      tier: "gpu",
      groupIndex: null,
    };
    return { stored, removed, contentKeys: words((PROMPT_BLOCKS / SPAN_BLOCKS) * 2) };
  });
}

function tailFirst(hashes: Uint32Array): Uint32Array {
  const reversed = new Uint32Array(hashes.length);
  for (let at = 0; at < hashes.length; at += 2) {
    reversed.set(hashes.subarray(at, at + 2), hashes.length - 2 - at);
  }
  return reversed;
}
