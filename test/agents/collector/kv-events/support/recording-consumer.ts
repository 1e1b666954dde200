// A consumer that remembers every call, and keeps the simplest account of what each source holds.

import type {
  KvBlocksRemoved,
  KvBlocksStored,
  KvEventConsumer,
  KvEventSource,
} from "../../../../../src/scheduler/kv/residency/kv-event.ts";
import { hexOf } from "./batches.ts";

export class RecordingConsumer implements KvEventConsumer {
  /** One line a call, e.g. `e1/0 stored 0000000000000001`. */
  readonly calls: string[] = [];
  /** What each stored event's topic named, in order. */
  readonly models: string[] = [];
  /** Copies by hash and tier: a block may be there more than once, each copy told of. */
  readonly #held = new Map<KvEventSource, Map<string, number>>();

  /** Hashes held by an endpoint on a tier, all its ranks together. */
  held(endpoint: string | null, tier = "gpu"): string[] {
    const hashes: string[] = [];
    for (const [source, blocks] of this.#held) {
      if (source.endpoint !== endpoint) continue;
      for (const [block, copies] of blocks) {
        const [hash, of] = block.split(" ");
        if (of === tier && copies > 0) hashes.push(hash!);
      }
    }
    return hashes.toSorted();
  }

  stored: KvEventConsumer["stored"] = (source, event, model) => {
    this.#note(source, "stored", hexOf(event.hashes));
    this.models.push(model);
    this.#count(source, event, 1);
  };

  removed: KvEventConsumer["removed"] = (source, event) => {
    this.#note(source, "removed", hexOf(event.hashes));
    this.#count(source, event, -1);
  };

  cleared: KvEventConsumer["cleared"] = (source, isNewProcess) => {
    this.#note(source, isNewProcess ? "begun anew" : "cleared");
    this.#of(source).clear();
  };

  uncertain: KvEventConsumer["uncertain"] = (source, reason) => {
    this.#note(source, "uncertain", [reason]);
    this.#of(source).clear();
  };

  gone: KvEventConsumer["gone"] = (source) => {
    this.#note(source, "gone");
    this.#held.delete(source);
  };

  /** A removal of what is not known is none. */
  #count(source: KvEventSource, event: KvBlocksStored | KvBlocksRemoved, by: number): void {
    const blocks = this.#of(source);
    for (const hash of hexOf(event.hashes)) {
      const block = `${hash} ${event.tier}`;
      blocks.set(block, Math.max(0, (blocks.get(block) ?? 0) + by));
    }
  }

  #of(source: KvEventSource): Map<string, number> {
    let blocks = this.#held.get(source);
    if (blocks === undefined) {
      blocks = new Map();
      this.#held.set(source, blocks);
    }
    return blocks;
  }

  #note(source: KvEventSource, what: string, details: string[] = []): void {
    this.calls.push([`${source.endpoint}/${source.rank}`, what, ...details].join(" "));
  }
}
