// A whole decision: content keys of a prompt, and from keys to endpoints.

import { schedulerConfigSchema } from "../src/scheduler/config.ts";
import { DecisionRecorder } from "../src/scheduler/decision-record.ts";
import { EndpointPicker, type PickInput } from "../src/scheduler/endpoint-picker.ts";
import { CHARS_PER_TOKEN, createContentKeys } from "../src/scheduler/kv/content-keys.ts";
import { PrefixTree } from "../src/scheduler/kv/prefix-tree.ts";
import { EndpointTable } from "../src/scheduler/model/endpoint-table.ts";
import { createRng } from "../src/scheduler/support/rng.ts";
import { type Measurement, nanosecondsPerCall, sink } from "./measure.ts";

const BENCH = "decision";
const NOW_MS = 1_000_000;
const PROMPT_TOKENS = 10_000;

/** Text that no compiler can fold: words drawn from a small vocabulary. */
function prompt(tokens: number, seed: number): string {
  const rng = createRng(seed);
  const words: string[] = [];
  for (let length = 0; length < tokens * CHARS_PER_TOKEN;) {
    const word = Math.floor(rng() * 5_000).toString(36);
    words.push(word);
    length += word.length + 1;
  }
  // Encoding makes the text flat, as a request's body is.
  const text = words.join(" ").slice(0, tokens * CHARS_PER_TOKEN);
  return new TextDecoder().decode(new TextEncoder().encode(text));
}

function keysOf(text: string): Uint32Array {
  const keys = createContentKeys({ model: "meta-llama/Llama-3.3-70B-Instruct" });
  keys.update(text);
  return keys.keys();
}

function* measureContentKeys(): Generator<Measurement> {
  const of = (metric: string, value: number, unit: string): Measurement => ({
    bench: BENCH,
    metric,
    value,
    unit,
    ratio: null,
    against: null,
  });
  for (const tokens of [1_000, 10_000, 100_000]) {
    const text = prompt(tokens, tokens);
    const ns = nanosecondsPerCall(() => {
      sink.value += keysOf(text).length;
    });
    yield of(`content_keys_${tokens / 1_000}k_tokens`, ns / 1e6, "ms");
    yield of(`content_keys_${tokens / 1_000}k_tokens.rate`, text.length / (ns / 1e3), "MB/s");
  }
}

/** A pool in use: loads differ, and a third of the endpoints hold a part of the prompt. */
function createPool(endpoints: number, keys: Uint32Array) {
  const table = new EndpointTable();
  const tree = new PrefixTree();
  const rng = createRng(5);
  for (let i = 0; i < endpoints; i++) {
    const slot = table.add({ id: `ns/e${i}`, address: `h${i}:8000`, engine: "vllm", labels: {} })!;
    const sample = { waiting: Math.floor(rng() * 8), running: 4, kvUsage: rng() };
    table.applySample(slot, sample, NOW_MS);
    if (rng() < 1 / 3)
      tree.insert(keys.subarray(0, 2 * Math.ceil((rng() * keys.length) / 2)), slot);
  }
  return { table, tree };
}

interface Decision {
  readonly endpoints: number;
  /** Whether some endpoint holds a part of the prompt. */
  readonly isCold: boolean;
}

function* measurePicks({ endpoints, isCold }: Decision): Generator<Measurement> {
  const warmKeys = keysOf(prompt(PROMPT_TOKENS, 1));
  const keys = isCold ? keysOf(prompt(PROMPT_TOKENS, 2)) : warmKeys;
  const { table, tree } = createPool(endpoints, warmKeys);
  const picker = new EndpointPicker(schedulerConfigSchema.parse({}));
  const recorder = new DecisionRecorder();
  const request = {
    requestId: "r",
    model: "m",
    tenant: "t",
    priority: 0,
    keys,
    promptTokens: PROMPT_TOKENS,
    outputTokensMax: null,
    bodyBytes: PROMPT_TOKENS * CHARS_PER_TOKEN,
  };
  const facts = { attempt: 0, configVersion: 1, seed: 0 };
  const match = (path: Uint32Array, out: Int32Array) => tree.match(path, out);
  let seed = 0;
  const input = (): PickInput => ({
    request,
    endpoints: table.columns,
    match,
    nowMs: NOW_MS,
    staleAfterMs: 1_000,
    seed: seed++,
  });
  const name = `pick_${endpoints}${isCold ? "_cold" : ""}`;
  const plain = nanosecondsPerCall(() => {
    const picked = picker.pick(input());
    if (picked.ok) sink.value += picked.slots[0]!;
  });
  const recorded = nanosecondsPerCall(() => {
    picker.pick(input(), recorder);
    sink.value += recorder.finish(table, facts)!.ids.length;
  });
  yield us(name, plain, null);
  yield us(`${name}_recorded`, recorded, { ns: plain, name });
}

function us(metric: string, ns: number, base: { ns: number; name: string } | null): Measurement {
  return {
    bench: BENCH,
    metric,
    value: ns / 1e3,
    unit: "us",
    ratio: base === null ? null : ns / base.ns,
    against: base?.name ?? null,
  };
}

export function* measureDecision(): Generator<Measurement> {
  yield* measureContentKeys();
  for (const endpoints of [64, 1_000]) {
    yield* measurePicks({ endpoints, isCold: false });
    yield* measurePicks({ endpoints, isCold: true });
  }
}
