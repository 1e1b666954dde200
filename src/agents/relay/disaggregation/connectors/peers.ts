// How engines name each other: hosts, ports that follow from an endpoint's rank, sources of blocks.

import type { Connector, Pairing } from "../connector.ts";
import { editMembers } from "./json-edits.ts";

/** Settings of the engines that a connector cannot see; names and defaults as llm-d's sidecar has them. */
export interface ConnectorOptions {
  /** Of SGLang's bootstrap server on each prefiller's host. */
  readonly sglangBootstrapPort: number;
  /** Of Mooncake's bootstrap server on each prefiller's host. */
  readonly mooncakeBootstrapPort: number;
  /** Of the P2P tier of rank 0 of OffloadingConnector on each host. */
  readonly p2pConnectorPort: number;
  /** Whether vLLM runs OffloadingConnector beside NixlConnector, so that nixlv2 may name a source. */
  readonly isP2pPullEnabled: boolean;
  /** Endpoints of one host, at ports that follow one another from `dataParallelBasePort`. */
  readonly dataParallelSize: number;
  readonly dataParallelBasePort: number;
  /**
   * Least part of a prompt, from 0 to 1, that a decoder of a shared storage must find to begin without a
   * prefill. Absent: it is asked only by requests that bring their own.
   */
  readonly cacheHitThreshold?: number;
}

export const CONNECTOR_DEFAULTS: ConnectorOptions = {
  sglangBootstrapPort: 8998,
  mooncakeBootstrapPort: 8998,
  p2pConnectorPort: 7777,
  isP2pPullEnabled: false,
  dataParallelSize: 1,
  dataParallelBasePort: 8000,
};

/** The host of `host:port`, without the brackets of IPv6. */
export function hostOf(address: string): string {
  const host = hostInUrl(address);
  return host.startsWith("[") ? host.slice(1, -1) : host;
}

/** The host as it stands before a port: with the brackets of IPv6. */
export function hostInUrl(address: string): string {
  return address.slice(0, address.lastIndexOf(":"));
}

/**
 * JSON that names the P2P tier of an endpoint. A rank's tier listens at the base port plus the rank, which
 * is what the endpoint's port lies above the first one's; a port outside the ranks is taken for rank 0.
 */
export function p2pPeer(address: string, kvRequestId: string, options: ConnectorOptions): string {
  const port = Number(address.slice(address.lastIndexOf(":") + 1));
  const rank = port - options.dataParallelBasePort;
  const isRank = rank >= 0 && rank < options.dataParallelSize;
  return JSON.stringify({
    kv_request_id: kvRequestId,
    remote_host: hostOf(address),
    remote_port: options.p2pConnectorPort + (isRank ? rank : 0),
  });
}

/** The member `"remote_kv_source":{...}` of a prefiller's parameters; "" where nobody else has blocks. */
export function sourceOf(pairing: Pairing, options: ConnectorOptions): string {
  const { kvSource, prefiller, transferId } = pairing;
  if (kvSource === undefined || kvSource === prefiller) return "";
  return sourceMember(kvSource, transferId, options);
}

/** The leg of a decoder that copies blocks from a third and computes the rest of the prompt itself. */
export function pulling(options: ConnectorOptions): NonNullable<Connector["pull"]> {
  return ({ body }, { decoder, kvSource, transferId }) => {
    if (kvSource === decoder) return undefined;
    const params = `{${sourceMember(kvSource, transferId, options)}}`;
    const edited = editMembers(body, { kv_transfer_params: params });
    return edited === undefined ? undefined : { body: edited, headers: {} };
  };
}

/** The name of a copy is its reader's own: no other leg may have it. */
function sourceMember(kvSource: string, transferId: string, options: ConnectorOptions): string {
  return `"remote_kv_source":${p2pPeer(kvSource, `${transferId}-source`, options)}`;
}
