// A pool's object as far as edges see it: a table, trees, a source of snapshots with the digest.

import { PairDigestSource } from "../../../src/scheduler/edge/pair-digest-source.ts";
import { type PoolFacts, SnapshotSource } from "../../../src/scheduler/edge/snapshot-source.ts";
import { PrefixTree } from "../../../src/scheduler/kv/prefix-tree.ts";
import { EndpointTable } from "../../../src/scheduler/model/endpoint-table.ts";

export const FACTS: PoolFacts = {
  configVersion: 1,
  staleAfterMs: 4_000,
  saturation: 0.25,
  waiting: 0,
  isHeld: false,
};

export class PoolObject {
  nowMs = 1_700_000_000_000;
  isComplete = true;
  readonly table = new EndpointTable();
  readonly tree = new PrefixTree({ bytesMax: 4 * 1024 * 1024 });
  readonly #deferred: (() => void)[] = [];
  readonly pairs: PairDigestSource;
  readonly source: SnapshotSource;

  constructor(endpoints = 0, epoch = "epoch-1", bytesMax = 64 * 1024) {
    const clock = () => this.nowMs;
    this.pairs = new PairDigestSource({
      tables: () => [this.tree.pairs],
      isComplete: () => this.isComplete,
      clock,
      defer: (callback) => this.#deferred.push(callback),
      incarnation: epoch,
      slotsEnd: () => this.table.columns.slotCount,
      bytesMax,
    });
    const digest = (known: string) => this.pairs.part(known);
    this.source = new SnapshotSource({ epoch, table: this.table, clock, digest });
    for (let n = 0; n < endpoints; n++) this.add(n);
  }

  add(n: number, labels: Record<string, string> = {}): number | undefined {
    const address = `10.0.${n >> 8}.${n & 255}:8000`;
    return this.table.add({ id: `default/e${n}`, address, engine: "vllm", labels });
  }

  sampleAll(): void {
    for (const slot of this.table.slots()) this.sample(slot, {});
  }

  sample(slot: number, loads: { waiting?: number; running?: number; kvUsage?: number }): void {
    const sample = {
      waiting: 0,
      running: 0,
      kvUsage: 0,
      kvBlockSize: 16,
      kvBlocks: 10_000,
      ...loads,
    };
    this.table.applySample(slot, sample, this.nowMs);
  }

  remove(slot: number): void {
    this.tree.removeEndpoint(slot);
    this.table.remove(slot);
    this.pairs.slotVoid();
  }

  /** All that was put off to another turn. */
  settle(): void {
    for (let callback = this.#deferred.shift(); callback; callback = this.#deferred.shift())
      callback();
  }
}

/** A path of blocks: the first `shared` ones are those of every path with the same `root`. */
export function pathOf(root: number, blocks: number, leaf = root, shared = blocks): Uint32Array {
  const words = new Uint32Array(blocks * 2);
  for (let block = 0; block < blocks; block++) {
    const name = block < shared ? root * 1_000 + block : (leaf + 7) * 1_000_003 + block;
    words[block * 2] = hash(name * 2 + 1);
    words[block * 2 + 1] = hash(name * 2 + 2);
  }
  return words;
}

function hash(number: number): number {
  let word = (number ^ 0x9e37_79b9) >>> 0;
  word = Math.imul(word ^ (word >>> 16), 0x85eb_ca6b);
  word = Math.imul(word ^ (word >>> 13), 0xc2b2_ae35);
  return (word ^ (word >>> 16)) >>> 0;
}
