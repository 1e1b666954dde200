// A consumer that remembers every call, and keeps the simplest account of what each source holds.

import type {
  KvEventConsumer,
  KvEventSource,
} from "../../../../../src/scheduler/kv/residency/kv-event.ts";
import { hexOf } from "./batches.ts";

export class RecordingConsumer implements KvEventConsumer {
  /** One line a call, e.g. `e1/0 stored 0000000000000001`. */
  readonly calls: string[] = [];
  /** What each stored event's topic named, in order. */
  readonly models: string[] = [];
  readonly #held = new Map<KvEventSource, Map<string, Set<string>>>();

  /** Hashes held by an endpoint on a tier, all its ranks together. */
  held(endpoint: string | null, tier = "gpu"): string[] {
    const hashes: string[] = [];
    for (const [source, blocks] of this.#held) {
      if (source.endpoint !== endpoint) continue;
      for (const [hash, tiers] of blocks) if (tiers.has(tier)) hashes.push(hash);
    }
    return hashes.sort();
  }

  stored: KvEventConsumer["stored"] = (source, event, model) => {
    this.#note(source, "stored", hexOf(event.hashes));
    this.models.push(model);
    const blocks = this.#of(source);
    for (const hash of hexOf(event.hashes)) {
      blocks.set(hash, (blocks.get(hash) ?? new Set()).add(event.tier));
    }
  };

  removed: KvEventConsumer["removed"] = (source, event) => {
    this.#note(source, "removed", hexOf(event.hashes));
    for (const hash of hexOf(event.hashes)) this.#of(source).get(hash)?.delete(event.tier);
  };

  cleared: KvEventConsumer["cleared"] = (source) => {
    this.#note(source, "cleared");
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

  #of(source: KvEventSource): Map<string, Set<string>> {
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
