// Flags of the collector that have to do with KV events. Ports are named as in llm-d's
// podDiscoveryConfig; what labels of an endpoint say goes before them (event-urls.ts).

import {
  choiceFlag,
  listenFlag,
  numberFlag,
  UsageError,
  type Flag,
  type NumberRange,
} from "../../process/flags.ts";
import { isEventsUrl } from "./event-urls.ts";
import type { KvEventsMode } from "./kv-events.ts";

/** Publishers of shared storage. */
const STORAGE_URLS_MAX = 16;
const port: NumberRange = { min: 1, max: 65_535, isInteger: true };
const portOrNone: NumberRange = { ...port, min: 0 };

export const KV_EVENT_FLAGS = {
  "kv-events": choiceFlag(
    ["off", "connect", "bind"],
    "KV events: not read, read from each endpoint, or taken from publishers that dial",
    "off",
  ),
  "kv-events-port": numberFlag("where rank 0 of an endpoint publishes", port, 5_557),
  "kv-replay-port": numberFlag("where rank 0 answers replays; 0: nowhere", portOrNone, 0),
  "kv-serving-port": numberFlag(
    "serving port of rank 0, where ranks are endpoints; 0: they are not",
    portOrNone,
    0,
  ),
  "kv-storage-urls": storageFlag(),
  "kv-events-listen": listenFlag("where publishers dial, if they do", "127.0.0.1:5557"),
} as const;

interface KvEventFlagValues {
  readonly "kv-events": "off" | "connect" | "bind";
  readonly "kv-events-port": number;
  readonly "kv-replay-port": number;
  readonly "kv-serving-port": number;
  readonly "kv-storage-urls": readonly string[];
  readonly "kv-events-listen": { readonly host: string; readonly port: number };
}

/** Null where KV events are off. Throws UsageError where flags contradict each other. */
export function kvEventsMode(flags: KvEventFlagValues): KvEventsMode | null {
  if (flags["kv-events"] === "off") return null;
  if (flags["kv-events"] === "bind") {
    if (flags["kv-storage-urls"].length > 0) {
      throw new UsageError(
        "--kv-storage-urls is for --kv-events connect: where publishers dial, storage dials too.",
      );
    }
    const { host, port: listenPort } = flags["kv-events-listen"];
    const bracketed = host.includes(":") ? `[${host}]` : host;
    return { type: "bind", url: `tcp://${bracketed}:${listenPort === 0 ? "*" : listenPort}` };
  }
  return {
    type: "connect",
    ports: {
      events: flags["kv-events-port"],
      replay: flags["kv-replay-port"],
      serving: flags["kv-serving-port"],
    },
    storageUrls: flags["kv-storage-urls"],
  };
}

function storageFlag(): Flag<readonly string[]> {
  return {
    placeholder: "URL,…",
    help: "publishers of storage that endpoints share, tcp://HOST:PORT",
    fallback: [],
    parse(text) {
      const urls = text.split(",");
      return urls.length <= STORAGE_URLS_MAX && urls.every(isEventsUrl)
        ? { ok: true, value: urls }
        : { ok: false, expected: `at most ${STORAGE_URLS_MAX} of tcp://HOST:PORT, between commas` };
    },
  };
}
