import { choiceFlag } from "../../process/flags.ts";

/** What the pool's object is told of engines' caches in. It must be what the pool's `prefixKeys` says. */
export type KvKeys = "content" | "tokens";

export const KV_KEYS_FLAGS = {
  "kv-keys": choiceFlag<KvKeys>(
    ["content", "tokens"],
    "what blocks are told in: the content that became them, or their tokens; as the pool's prefixKeys",
    "content",
  ),
} as const;
