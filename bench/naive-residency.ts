// What KV events mean for content, with Maps of Sets and keys that are strings.

import type { KvBlocksStored } from "../src/scheduler/kv/residency/kv-event.ts";

export class NaiveResidency {
  /** A short name for each path. */
  readonly #ids = new Map<string, string>();
  /** By engine hash. */
  readonly #keys = new Map<string, string>();
  readonly #counts = new Map<string, number>();
  readonly #contents = new Map<string, Set<string>>();
  readonly #spans = new Map<string, readonly string[]>();
  readonly #holders = new Map<string, Set<number>>();
  changes = 0;

  /** The keys of a chain's blocks. */
  keysOf(event: KvBlocksStored): string[] {
    let key = event.parent === null ? "" : (this.#keys.get(nameOf(event.parent, 0)) ?? "");
    const keys: string[] = [];
    for (let at = 0; at < event.tokens.length; at += event.blockSize) {
      const path = `${key}|${event.tokens.subarray(at, at + event.blockSize).join(",")}`;
      key = this.#ids.get(path) ?? `${this.#ids.size}`;
      this.#ids.set(path, key);
      keys.push(key);
    }
    return keys;
  }

  learn(contents: readonly string[], tokens: readonly string[], blocksEach: number): void {
    for (const [i, content] of contents.entries()) {
      const span = tokens.slice(i * blocksEach, (i + 1) * blocksEach);
      this.#spans.set(content, span);
      for (const token of span) {
        const known = this.#contents.get(token) ?? new Set();
        this.#contents.set(token, known.add(content));
      }
    }
  }

  stored(slot: number, event: KvBlocksStored): void {
    for (const [i, key] of this.keysOf(event).entries()) {
      const name = nameOf(event.hashes, i);
      this.#keys.set(name, key);
      const count = (this.#counts.get(name) ?? 0) + 1;
      this.#counts.set(name, count);
      if (count > 1) continue;
      const holders = this.#holders.get(key) ?? new Set();
      this.#holders.set(key, holders.add(slot));
      this.#tell(slot, key);
    }
  }

  removed(slot: number, hashes: Uint32Array): void {
    for (let i = 0; i * 2 < hashes.length; i++) {
      const name = nameOf(hashes, i);
      const count = (this.#counts.get(name) ?? 0) - 1;
      this.#counts.set(name, count);
      const key = this.#keys.get(name);
      if (count > 0 || key === undefined) continue;
      this.#tell(slot, key);
      this.#holders.get(key)?.delete(slot);
    }
  }

  /** Counts content that a block makes whole, or no longer so. */
  #tell(slot: number, key: string): void {
    for (const content of this.#contents.get(key) ?? []) {
      const span = this.#spans.get(content)!;
      if (span.every((token) => this.#holders.get(token)?.has(slot) === true)) this.changes++;
    }
  }
}

function nameOf(hashes: Uint32Array, at: number): string {
  return `${hashes[at * 2]}:${hashes[at * 2 + 1]}`;
}
