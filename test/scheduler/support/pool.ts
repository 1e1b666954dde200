// A pool as the object holds it: endpoints, prefix knowledge and a picker over both.

import type { SchedulerConfig } from "../../../src/scheduler/config/scheduler-config.ts";
import {
  EndpointPicker,
  type Picked,
  type PickInput,
  type PickRecorder,
} from "../../../src/scheduler/endpoint-picker.ts";
import { ApproximatePrefix } from "../../../src/scheduler/kv/approximate-prefix.ts";
import { createContentKeys } from "../../../src/scheduler/kv/content-keys.ts";
import { PrefixTree } from "../../../src/scheduler/kv/prefix-tree.ts";
import { ENDPOINTS_MAX, EndpointTable } from "../../../src/scheduler/model/endpoint-table.ts";
import type { Dropped } from "../../../src/scheduler/outcome.ts";
import { inferenceRequest, NOW_MS, STALE_AFTER_MS } from "./pick-context.ts";
import { profileConfig } from "./profile-config.ts";

/** Keys of a prompt. */
export function promptKeys(prompt: string): Uint32Array {
  const content = createContentKeys({ model: "model-a" });
  content.update(new TextEncoder().encode(prompt));
  return content.keys();
}

export class TestPool {
  readonly table = new EndpointTable();
  readonly prefix = new ApproximatePrefix(new PrefixTree(), ENDPOINTS_MAX);
  readonly config: SchedulerConfig;
  readonly picker: EndpointPicker;
  #seed = 1;

  constructor(
    endpoints: number,
    config: SchedulerConfig = profileConfig(),
    // A plugin that throws is a mistake here.
    picker = new EndpointPicker(config, undefined, (_type, error) => {
      throw error;
    }),
  ) {
    this.config = config;
    this.picker = picker;
    for (let n = 0; n < endpoints; n++) {
      const address = `10.0.${n >> 8}.${n & 255}:8000`;
      this.table.add({ id: `default/e${n}`, address, engine: "vllm", labels: {} });
    }
  }

  /** Applies a sample to every endpoint: idle but for what `loads` says, by slot. */
  sampleAll(loads: Record<number, { waiting?: number; kvUsage?: number }> = {}): void {
    for (const slot of this.table.slots()) {
      const sample = { waiting: 0, running: 0, kvUsage: 0, ...loads[slot] };
      this.table.applySample(slot, sample, NOW_MS);
    }
  }

  /** What a pick looks at, each with a seed of its own. */
  input(prompt: string): PickInput {
    return {
      request: inferenceRequest({ keys: promptKeys(prompt) }),
      endpoints: this.table.columns,
      pool: this.table,
      prefixSources: {
        approximate: (keys, matchedBlocks) => this.prefix.tree.match(keys, matchedBlocks),
      },
      nowMs: NOW_MS,
      staleAfterMs: STALE_AFTER_MS,
      seed: this.#seed++,
    };
  }

  pick(
    prompt: string,
    options: Partial<PickInput> & { readonly recorder?: PickRecorder } = {},
  ): Picked | Dropped {
    return this.picker.pick({ ...this.input(prompt), ...options }, options.recorder);
  }

  /** Picks, sends and learns, as the object does for a request that succeeds. Returns the slot. */
  send(prompt: string): number {
    const picked = this.pick(prompt);
    if (!picked.ok) throw new Error(picked.detail);
    const slot = picked.slots[0]!;
    this.table.dispatched(slot, 100, 0);
    this.prefix.learn(promptKeys(prompt), slot, 0);
    return slot;
  }
}
