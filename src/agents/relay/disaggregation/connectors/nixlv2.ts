// nixlv2: vLLM's NixlConnector, READ mode. The decoder pulls the blocks that the prefiller's answer names.
//
//   prefill   one token, kv_transfer_params: {do_remote_decode: true, ... null}
//   decode    the request as it came, kv_transfer_params: as the answer has them, byte for byte
//
// Source: llm-d-router pkg/sidecar/proxy/connector_nixlv2.go. That parses and prints whole bodies, which
// rounds integers past 2^53 and sorts keys, and it sends null where the answer has no parameters. Here
// the client's bytes stay, and without parameters the decoder is sent none.

import type { Connector, DecodeLeg, StagedRequest } from "../connector.ts";
import { editMembers, isObject, parseJson, readMember } from "./json-edits.ts";
import { oneTokenEdits } from "./prefill-limits.ts";
import { pulling, sourceOf, type ConnectorOptions } from "./peers.ts";

const ASKED_OF_PREFILL =
  '"do_remote_decode":true,"do_remote_prefill":false,"remote_engine_id":null,' +
  '"remote_block_ids":null,"remote_host":null,"remote_port":null';

export function createNixlv2(options: ConnectorOptions): Connector {
  return {
    name: "nixlv2",
    order: "sequential",
    handOff(request, pairing) {
      const source = options.isP2pPullEnabled ? sourceOf(pairing, options) : "";
      const params = `{${ASKED_OF_PREFILL}${source === "" ? "" : `,${source}`}}`;
      const body = editMembers(request.body, {
        ...oneTokenEdits(request.api),
        kv_transfer_params: params,
      });
      if (body === undefined) return undefined;
      return {
        prefill: { body, headers: {} },
        decode: (prefilled) => decodeLeg(request, prefilled),
      };
    },
    ...(options.isP2pPullEnabled ? { pull: pulling(options) } : {}),
  };
}

function decodeLeg({ body }: StagedRequest, prefilled: Uint8Array | undefined): DecodeLeg {
  const params = prefilled === undefined ? undefined : readMember(prefilled, "kv_transfer_params");
  const isHandedOver = params !== undefined && isObject(parseJson(params));
  const edited = editMembers(body, { kv_transfer_params: isHandedOver ? params : undefined });
  return { body: edited ?? body, headers: {}, isHandedOver };
}
