// A lead's map of shards, kept for when it loses its memory: splits are found anew only after a minute of
// traffic, and until then one shard could have all of it.

import { ONE_SHARD, type ShardMap } from "../../scheduler/shards/contracts.ts";

const KEY = "shard-map";

export class KeptMap {
  readonly #storage: DurableObjectStorage;

  constructor(storage: DurableObjectStorage) {
    this.#storage = storage;
  }

  read(): ShardMap {
    return this.#storage.kv.get<ShardMap>(KEY) ?? ONE_SHARD;
  }

  write(map: ShardMap): void {
    // In a turn without a confirmed write, and unconfirmed: no reply waits for it. A failed write breaks
    // the object: the runtime ends it and reports why.
    setTimeout(
      () => void this.#storage.put(KEY, map, { allowUnconfirmed: true }).catch(() => undefined),
      0,
    );
  }
}
