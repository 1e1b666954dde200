// What of a prompt the pool's caches hold, at the endpoint that holds most of it.

import { CONTENT_BLOCK_TOKENS } from "../../scheduler/kv/content-keys.ts";
import type { PrefixTree } from "../../scheduler/kv/prefix-tree.ts";
import type { EndpointColumns } from "../../scheduler/model/endpoint-columns.ts";
import { ENDPOINTS_MAX } from "../../scheduler/model/endpoint-table.ts";

const matched = new Int32Array(ENDPOINTS_MAX);

/** In tokens; `keys` may be of every `blocksPerKey`-th block. O(keys + endpoints). */
export function bestMatchTokens(
  tree: Pick<PrefixTree, "match">,
  { slotCount, isPresent }: Pick<EndpointColumns, "slotCount" | "isPresent">,
  { keys, blocksPerKey }: { readonly keys: Uint32Array; readonly blocksPerKey: number },
): number {
  if (keys.length === 0) return 0;
  tree.match(keys, matched);
  let best = 0;
  for (let slot = 0; slot < slotCount; slot++)
    if (isPresent[slot] === 1 && matched[slot]! > best) best = matched[slot]!;
  return best * blocksPerKey * CONTENT_BLOCK_TOKENS;
}
