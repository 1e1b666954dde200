// Which connector the engines of an endpoint hand caches over with.

import type { EndpointRecord, EngineType } from "../../protocol/messages.ts";
import { CONNECTOR_NAMES, type Connector, type ConnectorName } from "./connector.ts";
import type { ConnectorOptions } from "./connectors/peers.ts";
import { createConnector } from "./connectors/registry.ts";

/** A value of `--kv-connector`; `auto` asks each endpoint's label, then its engine's family. */
export type ConnectorChoice = ConnectorName | "auto";

/** Label that names an endpoint's connector, with the names of `--kv-connector`. */
const CONNECTOR_LABEL = "fairlead/kv-connector";

const OF_ENGINE: Readonly<Record<EngineType, ConnectorName | undefined>> = {
  vllm: "nixlv2",
  sglang: "sglang",
  "trtllm-serve": undefined,
};

export class ConnectorTable {
  readonly #choice: ConnectorChoice;
  readonly #connectors: ReadonlyMap<ConnectorName, Connector>;

  constructor(choice: ConnectorChoice, options: ConnectorOptions) {
    this.#choice = choice;
    this.#connectors = new Map(
      CONNECTOR_NAMES.map((name) => [name, createConnector(name, options)]),
    );
  }

  /** Undefined for an endpoint whose engine cannot be split here. */
  of(endpoint: EndpointRecord): Connector | undefined {
    const name = this.#choice === "auto" ? ofEndpoint(endpoint) : this.#choice;
    return name === undefined ? undefined : this.#connectors.get(name);
  }
}

function ofEndpoint({ labels, engine }: EndpointRecord): ConnectorName | undefined {
  const label = labels[CONNECTOR_LABEL];
  // A connector that this release does not know splits nothing.
  if (label !== undefined) return CONNECTOR_NAMES.find((name) => name === label);
  return OF_ENGINE[engine];
}
