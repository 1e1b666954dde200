// The prefix index anybody writes first: a Map from key to the Set of its holders. It evicts
// nothing and keeps no recency; what PrefixTree is compared with has less to do.

/** Names blocks by one bigint each, and holders by slot. */
export class NaivePrefixIndex {
  readonly #holders = new Map<bigint, Set<number>>();

  insert(keys: BigUint64Array, slot: number): void {
    for (const key of keys) {
      const holders = this.#holders.get(key);
      if (holders === undefined) this.#holders.set(key, new Set([slot]));
      else holders.add(slot);
    }
  }

  /** Writes every slot's longest match without a gap into `out`, in one walk. */
  match(keys: BigUint64Array, out: Int32Array): void {
    out.fill(0);
    const first = keys[0];
    const active = new Set(first === undefined ? [] : this.#holders.get(first));
    for (const slot of active) out[slot] = 1;
    for (let i = 1; i < keys.length && active.size > 0; i++) {
      const holders = this.#holders.get(keys[i]!);
      if (holders === undefined) return;
      for (const slot of active) {
        if (holders.has(slot)) out[slot] = i + 1;
        else active.delete(slot);
      }
    }
  }
}

/** The same keys, one number each. `keys` must begin at a multiple of eight bytes of its buffer. */
export function asBigints(keys: Uint32Array): BigUint64Array {
  return new BigUint64Array(keys.buffer, keys.byteOffset, keys.length / 2);
}
