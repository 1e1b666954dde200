// A pool as a decision finds it: loads differ, and a third of the endpoints hold a part of the prompt.

import type { SchedulerConfig } from "../src/scheduler/config/scheduler-config.ts";
import { schedulerConfigSchema } from "../src/scheduler/config/schema.ts";
import type { QueueFacts } from "../src/scheduler/decisions/record.ts";
import { DecisionRecorder } from "../src/scheduler/decisions/recorder.ts";
import { DecisionRing } from "../src/scheduler/decisions/ring.ts";
import { EndpointPicker } from "../src/scheduler/endpoint-picker.ts";
import type { PoolView } from "../src/scheduler/flow-control/saturation.ts";
import { CONTENT_BLOCK_TOKENS } from "../src/scheduler/kv/content-keys.ts";
import { PrefixTree } from "../src/scheduler/kv/prefix-tree.ts";
import { EndpointTable } from "../src/scheduler/model/endpoint-table.ts";
import type { PrefixSources } from "../src/scheduler/plugin.ts";
import { createRng, type Rng } from "../src/scheduler/support/rng.ts";
import { sink } from "./measure.ts";
import { NaivePicker } from "./naive-picker.ts";

const NOW_MS = 1_000_000;
const STALE_AFTER_MS = 1_000;
const HOLDERS_SHARE = 1 / 3;
const QUEUE_DEPTH_MAX = 8;
const SENT_TOKENS = 1_000;

/** The product's parts and the naive ones, with the same endpoints in the same state. */
export class PoolInUse {
  readonly naive = new NaivePicker();
  readonly #table = new EndpointTable();
  readonly #tree = new PrefixTree();
  readonly #scheduler: SchedulerConfig;
  readonly #picker: EndpointPicker;
  readonly #ring = new DecisionRing();
  readonly #recorder = new DecisionRecorder(this.#ring);
  readonly #prefixSources: PrefixSources = {
    approximate: (keys, matchedBlocks) => this.#tree.match(keys, matchedBlocks),
  };
  readonly #rng: Rng;
  #seed = 0;

  constructor(endpoints: number, seed = 5, scheduler = schedulerConfigSchema.parse({})) {
    this.#scheduler = scheduler;
    this.#picker = new EndpointPicker(scheduler);
    this.#rng = createRng(seed);
    for (let i = 0; i < endpoints; i++) {
      const endpoint = { id: `ns/e${i}`, address: `h${i}:8000`, engine: "vllm", labels: {} };
      const waiting = Math.floor(this.#rng() * QUEUE_DEPTH_MAX);
      const kvUsage = this.#rng();
      const slot = this.#table.add(endpoint)!;
      this.#table.applySample(slot, { waiting, running: 4, kvUsage }, NOW_MS);
      this.naive.add({ address: endpoint.address, waiting, kvUsage });
    }
  }

  /** Lets a third of the endpoints hold the beginning of a prompt, each up to another block. */
  warm(keys: Uint32Array): void {
    for (const slot of this.#table.slots()) {
      if (this.#rng() >= HOLDERS_SHARE) continue;
      const held = keys.slice(0, 2 * Math.ceil((this.#rng() * keys.length) / 2));
      this.#tree.insert(held, slot);
      this.naive.learn(held, this.#table.endpoint(slot)!.address);
    }
  }

  /** As a saturation detector sees it. */
  view(): PoolView {
    const { columns } = this.#table;
    return { endpoints: columns, pool: this.#table, nowMs: NOW_MS, staleAfterMs: STALE_AFTER_MS };
  }

  get tree(): PrefixTree {
    return this.#tree;
  }

  /** A request is under way to the slot until it has ended there. */
  send(slot: number): void {
    this.#table.dispatched(slot, SENT_TOKENS, NOW_MS);
  }

  end(slot: number): void {
    this.#table.released(slot, SENT_TOKENS, NOW_MS);
  }

  /** Addresses in the order to try. */
  pick(keys: Uint32Array): string[] {
    return Array.from(this.#pick(keys), (slot) => this.#table.endpoint(slot)!.address);
  }

  /** The first slot to try, without the record. */
  pickSlot(keys: Uint32Array): number {
    return this.#pick(keys)[0]!;
  }

  /** The same with the record that the pool keeps of every decision. */
  pickRecorded(keys: Uint32Array, queue?: QueueFacts): number {
    const seed = this.#seed;
    const [slot] = this.#pick(keys, this.#recorder);
    const facts = { attempt: 0, configVersion: 1, scheduler: this.#scheduler, seed, queue };
    this.#recorder.finish(this.#table, facts);
    sink.value += this.#ring.byteLength;
    return slot!;
  }

  #pick(keys: Uint32Array, recorder?: DecisionRecorder): Int32Array {
    const promptTokens = (keys.length / 2) * CONTENT_BLOCK_TOKENS;
    const input = {
      request: {
        requestId: `r${this.#seed}`,
        model: "m",
        tenant: "t",
        priority: 0,
        keys,
        promptTokens,
        outputTokensMax: null,
        bodyBytes: 4 * promptTokens,
      },
      endpoints: this.#table.columns,
      pool: this.#table,
      prefixSources: this.#prefixSources,
      nowMs: NOW_MS,
      staleAfterMs: STALE_AFTER_MS,
      seed: this.#seed++,
    };
    const picked = this.#picker.pick(input, recorder);
    if (!picked.ok) throw new Error(`nothing picked: ${picked.detail}`);
    return picked.slots;
  }
}
