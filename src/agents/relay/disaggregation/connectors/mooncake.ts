// mooncake: vLLM's MooncakeConnector. Both engines are asked at once under one transfer_id; the decoder
// finds the prefiller by its bootstrap server and the id of the engine that runs the rank.
//
//   query     GET http://<prefiller's host>:8998/query → {"<rank>": {"engine_id": "..."}}
//   prefill   one token, kv_transfer_params: {do_remote_decode: true, transfer_id}, x-data-parallel-rank
//   decode    the request as it came, kv_transfer_params: {do_remote_prefill: true, transfer_id,
//             remote_bootstrap_addr, remote_engine_id}
//
// Source: llm-d-router pkg/sidecar/proxy/connector_mooncake.go. It writes IPv6 addresses without
// brackets into the URL, which no reader takes.

import type { Connector, Pairing } from "../connector.ts";
import { chosenNumber } from "./chosen-number.ts";
import { editMembers, isObject } from "./json-edits.ts";
import { hostInUrl, type ConnectorOptions } from "./peers.ts";
import { shortPrefillEdits } from "./prefill-limits.ts";

const RANK_HEADER = "x-data-parallel-rank";

export function createMooncake(options: ConnectorOptions): Connector {
  const port = options.mooncakeBootstrapPort;
  return {
    name: "mooncake",
    order: "concurrent",
    bootstrap: { port, path: "/query", isUsable: (said) => enginesOf(said).length > 0 },
    handOff(request, pairing) {
      const engine = engineOf(pairing);
      if (engine === undefined) return undefined;
      const transferId = `xfer-${pairing.transferId}`;
      const prefill = editMembers(request.body, {
        ...shortPrefillEdits(request),
        kv_transfer_params: JSON.stringify({
          do_remote_prefill: false,
          do_remote_decode: true,
          transfer_id: transferId,
        }),
      });
      const decode = editMembers(request.body, {
        kv_transfer_params: JSON.stringify({
          do_remote_prefill: true,
          do_remote_decode: false,
          transfer_id: transferId,
          remote_bootstrap_addr: `http://${hostInUrl(pairing.prefiller)}:${port}`,
          remote_engine_id: engine.id,
        }),
      });
      if (prefill === undefined || decode === undefined) return undefined;
      return {
        prefill: { body: prefill, headers: { [RANK_HEADER]: engine.rank } },
        decode: () => ({ body: decode, headers: {}, isHandedOver: true }),
      };
    },
  };
}

interface Engine {
  readonly rank: string;
  readonly id: string;
}

/** The rank that was asked for, else one of those that the bootstrap server knows, spread evenly. */
function engineOf({ bootstrap, prefillRank, transferId }: Pairing): Engine | undefined {
  const engines = enginesOf(bootstrap);
  if (engines.length === 0) return undefined;
  const wanted = engines.find(({ rank }) => rank === String(prefillRank?.rank));
  return wanted ?? engines[chosenNumber(transferId, engines.length)];
}

/** Those that a bootstrap server names: none while they start. */
function enginesOf(said: unknown): Engine[] {
  if (!isObject(said)) return [];
  return Object.entries(said).flatMap(([rank, entry]) => {
    const id = isObject(entry) ? entry["engine_id"] : undefined;
    return typeof id === "string" && RANK.test(rank) ? [{ rank, id }] : [];
  });
}

/** It becomes a header: nothing else may stand there. */
const RANK = /^[0-9]{1,5}$/;
