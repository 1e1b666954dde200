// Which of a pool's objects one is, as it was told and has stored.

import { z } from "zod";
import type { PoolSummary } from "../scheduler/pools/summary.ts";
import { SHARDS_MAX } from "../scheduler/shards/contracts.ts";
import type { PoolObjectConfig } from "./contract.ts";

/** What an object's reports are of; undefined for one that does not count any more and says nothing. */
export function reportedAs(
  { name, shard }: Pick<PoolObjectConfig, "name" | "shard">,
  configVersion: number,
): Pick<PoolSummary, "pool" | "configVersion" | "shard"> | undefined {
  if (shard === undefined) return { pool: name, configVersion };
  if (shard.index >= shard.count) return undefined;
  const { index, count } = shard;
  return { pool: name, configVersion, ...(count === 1 ? {} : { shard: { index, count } }) };
}

const shardSchema = z.object({
  index: z
    .int()
    .min(0)
    .max(SHARDS_MAX - 1),
  count: z.int().min(1).max(SHARDS_MAX),
  jurisdiction: z.enum(["eu", "us", "fedramp", "fedramp-high"]).exactOptional(),
});

/** What was stored or sent, perhaps by another release; nothing for the only object of a pool. */
export function readShard(written: unknown): Pick<PoolObjectConfig, "shard"> {
  const { data } = shardSchema.safeParse(written);
  return data === undefined ? {} : { shard: data };
}
