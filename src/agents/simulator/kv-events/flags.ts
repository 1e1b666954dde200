// Flags of everything that has to do with KV events and the tiers they tell of. Those that vLLM has
// are named as there: --kv-events-config, --prefix-caching-hash-algo, --data-parallel-size,
// --data-parallel-start-rank, --lora-modules.

import { z } from "zod";
import { choiceFlag, numberFlag, textFlag, type Flag } from "../../process/flags.ts";
import { HASH_ALGORITHMS } from "./block-hashers.ts";
import { wireFormFlag } from "./wire-form.ts";

/** Blocks of a tier outside the GPU. */
const TIER_BLOCKS_MAX = 16_777_216;
const RANKS_MAX = 64;
const RANK_MAX = 65_535;
const LORAS_MAX = 64;
const ENDPOINT_CHARS_MAX = 256;
const BATCHES_MAX = 1_000_000;

const endpoint = z
  .string()
  .max(ENDPOINT_CHARS_MAX)
  .regex(/^(tcp|ipc|inproc):\/\/.+/, "an address of ZeroMQ, e.g. tcp://*:5557");

const configSchema = z.strictObject({
  // Off by default in vLLM; who gives the flag here wants events.
  enable_kv_cache_events: z.boolean().default(true),
  publisher: z.literal("zmq").default("zmq"),
  endpoint: endpoint.default("tcp://*:5557"),
  replay_endpoint: endpoint.nullable().default(null),
  buffer_steps: z.number().int().min(1).max(BATCHES_MAX).default(10_000),
  hwm: z.number().int().min(1).max(BATCHES_MAX).default(100_000),
  max_queue_size: z.number().int().min(1).max(BATCHES_MAX).default(100_000),
  topic: z.string().max(ENDPOINT_CHARS_MAX).default("kv@$(POD_IP):$(POD_PORT)@$(MODEL)"),
});

/** vLLM's KVEventsConfig. */
export type KvEventsConfig = z.output<typeof configSchema>;

export const KV_EVENT_FLAGS = {
  "kv-events-config": configFlag(),
  "kv-events-ports": portsFlag("a port for each engine's events, instead of what the address says"),
  "kv-replay-ports": portsFlag("the same for its replays"),
  "kv-events-form": wireFormFlag,
  "kv-events-loss-rate": percent("per cent of batches that get lost; replay still has them"),
  "kv-events-repeat-rate": percent("per cent of batches that are sent twice"),
  "prefix-caching-hash-algo": choiceFlag(
    HASH_ALGORITHMS,
    "how blocks are named; --hash-seed is part of it",
    "cbor-fnv",
  ),
  "kv-offloading-blocks": count("blocks of the CPU tier; 0 for none", 0, 0, TIER_BLOCKS_MAX),
  "kv-offloading-when": choiceFlag(
    ["evicted", "stored"],
    "when the GPU's blocks are copied to the CPU",
    "evicted",
  ),
  "kv-storage-blocks": count(
    "blocks of a store all engines share; 0 for none",
    0,
    0,
    TIER_BLOCKS_MAX,
  ),
  "kv-storage-endpoint": textFlag("ADDRESS", "where that store publishes", "tcp://*:5559"),
  "data-parallel-size": count(
    "ranks of each engine, each with a port and an address of its own",
    1,
    1,
    RANKS_MAX,
  ),
  "data-parallel-start-rank": count("the first rank of this process", 0, 0, RANK_MAX),
  "lora-modules": lorasFlag("adapters, which clients name as models"),
  render: choiceFlag(["on", "off"], "serve .../render, as vLLM with --enable-scale-out", "on"),
} as const;

function configFlag(): Flag<KvEventsConfig | null> {
  return {
    placeholder: "JSON",
    help:
      "publish KV events, with vLLM's fields: endpoint (bound if it has a *, else dialled),\n" +
      "replay_endpoint, buffer_steps, hwm, max_queue_size, topic. Engine i and rank r add\n" +
      "i * --data-parallel-size + r to bound ports, dialled ones count ranks only; tcp://HOST:* takes\n" +
      "any free port. $(POD_IP), $(POD_PORT) and $(MODEL) in a topic are filled in",
    fallback: null,
    parse(text) {
      let json: unknown;
      try {
        json = JSON.parse(text);
      } catch {
        // Reached by text that is not JSON.
        return { ok: false, expected: 'JSON, e.g. {"endpoint": "tcp://*:5557"}' };
      }
      const parsed = configSchema.safeParse(json);
      if (parsed.success) return { ok: true, value: parsed.data };
      const problem = z.prettifyError(parsed.error).replaceAll("\n", " ");
      return { ok: false, expected: `vLLM's KV events configuration: ${problem}` };
    },
  };
}

/** Ports as a list; none: as other flags say. */
export function portsFlag(help: string): Flag<readonly number[]> {
  return {
    placeholder: "PORT[,PORT]",
    help,
    fallback: [],
    parse(text) {
      const ports = text.split(",").map((port) => (/^[0-9]{1,5}$/.test(port) ? Number(port) : 0));
      const isGood = ports.every((port) => port >= 1 && port <= 65_535);
      return isGood ? { ok: true, value: ports } : { ok: false, expected: "ports, as 8001,8002" };
    },
  };
}

function lorasFlag(help: string): Flag<readonly string[]> {
  return {
    placeholder: "NAME[,NAME]",
    help,
    fallback: [],
    parse(text) {
      const names = text.split(",").map((name) => name.trim());
      const isGood =
        names.length <= LORAS_MAX &&
        names.every((name) => name !== "") &&
        new Set(names).size === names.length;
      return isGood
        ? { ok: true, value: names }
        : { ok: false, expected: `up to ${LORAS_MAX} different names` };
    },
  };
}

function percent(help: string): Flag<number> {
  return numberFlag(help, { min: 0, max: 100, isInteger: false }, 0);
}

function count(help: string, fallback: number, min: number, max: number): Flag<number> {
  return numberFlag(help, { min, max, isInteger: true }, fallback);
}
