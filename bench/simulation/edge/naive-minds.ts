// Isolates that decide alone and know little.

import { encodeTicketName } from "../../../src/agents/protocol/ticket-name.ts";
import {
  type InferenceRequest,
  reservedOutputTokens,
} from "../../../src/scheduler/model/inference-request.ts";
import type { Decided, Mind, MindContext } from "./ways.ts";

/** Loads that are older are renewed beside the next request. */
const RENEW_MS = 1_000;

export function randomMind({ topology, epoch, rng }: MindContext): Mind {
  const tickets = new Tickets(epoch);
  const { endpointCount } = topology.shape;
  return { decide: (request) => tickets.send(request, Math.floor(rng() * endpointCount)) };
}

/** The less loaded of two, its own requests counted since the loads came. */
export function twoChoicesMind(context: MindContext): Mind {
  const { topology, epoch, rng, nowMs } = context;
  const tickets = new Tickets(epoch);
  const { endpointCount } = topology.shape;
  let loads: Int32Array<ArrayBufferLike> = new Int32Array(endpointCount);
  let askedAtMs = -Infinity;
  return {
    decide(request, shard): Decided {
      if (nowMs() - askedAtMs > RENEW_MS) {
        askedAtMs = nowMs();
        context.loads(shard, (told) => (loads = told));
      }
      const one = Math.floor(rng() * endpointCount);
      const other = Math.floor(rng() * endpointCount);
      const slot = loads[other]! < loads[one]! ? other : one;
      loads[slot]! += 1;
      return tickets.send(request, slot);
    },
  };
}

/** Nothing is told of them: the object learns of its tickets by relays' reports. */
class Tickets {
  readonly #epoch: string;
  #count = 0;

  constructor(epoch: string) {
    this.#epoch = epoch;
  }

  send(request: InferenceRequest, slot: number): Decided {
    const { promptTokens, priority } = request;
    const outputTokens = reservedOutputTokens(request.outputTokensMax);
    const reservedTokens = promptTokens + outputTokens;
    const facts = { promptTokens, outputTokens, reservedTokens, priority };
    const ticket = encodeTicketName(this.#epoch, ++this.#count, facts);
    return { reason: "naive", local: { slots: [slot], ticket } };
  }
}
