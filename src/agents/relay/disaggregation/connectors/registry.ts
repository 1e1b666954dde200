// Which connector an engine's name stands for.

import type { Connector, ConnectorName } from "../connector.ts";
import { createMooncake } from "./mooncake.ts";
import { createNixlv2 } from "./nixlv2.ts";
import { createOffloading } from "./offloading.ts";
import type { ConnectorOptions } from "./peers.ts";
import { createSglang } from "./sglang.ts";
import { createSharedStorage } from "./shared-storage.ts";

const CONNECTORS: Readonly<Record<ConnectorName, (options: ConnectorOptions) => Connector>> = {
  nixlv2: createNixlv2,
  "shared-storage": createSharedStorage,
  sglang: createSglang,
  mooncake: createMooncake,
  offloading: createOffloading,
};

/** The connector of a name, as llm-d's `--kv-connector` has it. */
export function createConnector(name: ConnectorName, options: ConnectorOptions): Connector {
  return CONNECTORS[name](options);
}
