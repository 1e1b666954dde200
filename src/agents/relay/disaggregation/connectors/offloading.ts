// offloading: the P2P tier of vLLM's OffloadingConnector. Both engines are asked at once; the prefiller
// keeps blocks under a name, the decoder pulls them by it from the prefiller's tier.
//
//   prefill   one token, kv_transfer_params: {remote_decoder: {kv_request_id}, remote_kv_source?}
//   decode    the request as it came, kv_transfer_params: {remote_prefiller: {kv_request_id, remote_host,
//             remote_port}}
//   alone     the request as it came, kv_transfer_params: {remote_kv_source: {...}}
//
// Source: llm-d-router pkg/sidecar/proxy/connector_p2p.go.

import type { Connector } from "../connector.ts";
import { editMembers } from "./json-edits.ts";
import { p2pPeer, pulling, sourceOf, type ConnectorOptions } from "./peers.ts";
import { shortPrefillEdits } from "./prefill-limits.ts";

export function createOffloading(options: ConnectorOptions): Connector {
  return {
    name: "offloading",
    order: "concurrent",
    handOff(request, pairing) {
      const { prefiller, transferId } = pairing;
      const source = sourceOf(pairing, options);
      const asked = `"remote_decoder":${JSON.stringify({ kv_request_id: transferId })}`;
      const prefill = editMembers(request.body, {
        ...shortPrefillEdits(request),
        kv_transfer_params: `{${asked}${source === "" ? "" : `,${source}`}}`,
      });
      const decode = editMembers(request.body, {
        kv_transfer_params: `{"remote_prefiller":${p2pPeer(prefiller, transferId, options)}}`,
      });
      if (prefill === undefined || decode === undefined) return undefined;
      return {
        prefill: { body: prefill, headers: {} },
        decode: () => ({ body: decode, headers: {}, isHandedOver: true }),
      };
    },
    pull: pulling(options),
  };
}
