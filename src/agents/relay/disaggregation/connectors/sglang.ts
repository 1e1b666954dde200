// sglang: both engines are asked at once and meet in a room of the prefiller's bootstrap server, through
// which the prefiller pushes.
//
//   prefill, decode   the same body: the request as it came, with bootstrap_host, _port and _room
//
// SGLang takes the prefiller's rank from the room: room mod ranks. A batch of prompts uses the rooms that
// follow, one each.
//
// Source: llm-d-router pkg/sidecar/proxy/connector_sglang.go. Its rooms are nanoseconds since 1970, past
// 2^53 and alike within a microsecond; here they are spread over what every JSON reader keeps whole.

import type { Connector, Pairing } from "../connector.ts";
import { chosenNumber } from "./chosen-number.ts";
import { editMembers } from "./json-edits.ts";
import { hostOf, type ConnectorOptions } from "./peers.ts";

/** Rooms of one batch stay below 2^53 together; no engine takes a batch as long as this. */
const BATCH_MAX = 2 ** 20;
const ROOMS = 2 ** 53 - BATCH_MAX;

export function createSglang(options: ConnectorOptions): Connector {
  return {
    name: "sglang",
    order: "concurrent",
    needsPrefill: true,
    handOff(request, pairing) {
      const body = editMembers(request.body, {
        bootstrap_host: JSON.stringify(hostOf(pairing.prefiller)),
        bootstrap_port: String(options.sglangBootstrapPort),
        bootstrap_room: String(roomOf(pairing)),
      });
      if (body === undefined) return undefined;
      const leg = { body, headers: {} };
      return { prefill: leg, decode: () => ({ ...leg, isHandedOver: true }) };
    },
  };
}

function roomOf({ transferId, prefillRank }: Pairing): number {
  if (prefillRank === undefined) return chosenNumber(transferId, ROOMS);
  const { rank, count } = prefillRank;
  return chosenNumber(transferId, Math.floor(ROOMS / count)) * count + rank;
}
