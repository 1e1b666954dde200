// A decision as the claim on endpoints that its ticket is.

import { prefillOf, stagesOf } from "../scheduler/disaggregation/pick-stages.ts";
import type { Picked } from "../scheduler/endpoint-picker.ts";
import { CONTENT_BLOCK_TOKENS } from "../scheduler/kv/content-keys.ts";
import {
  type InferenceRequest,
  reservedOutputTokens,
} from "../scheduler/model/inference-request.ts";
import type { EndpointDirectory } from "../scheduler/plugin.ts";
import type { PickGrant } from "./contract.ts";
import { NO_SLOT } from "./tickets/ticket.ts";
import type { Ticket, TicketSpec } from "./tickets/ticket.ts";

/** All of it that follows from the request and the choice. */
export function ticketSpecOf(
  request: InferenceRequest,
  picked: Picked,
  pool: EndpointDirectory,
): Omit<TicketSpec, "attempt" | "holder" | "prediction"> {
  const { slots, matchedBlocks, responseHeaders } = picked;
  const { requestId, tenant, model, priority, keys, promptTokens } = request;
  const uncachedTokens = promptTokens - matchedBlocks * CONTENT_BLOCK_TOKENS;
  const outputTokens = reservedOutputTokens(request.outputTokensMax);
  return {
    requestId,
    tenant,
    model,
    priority,
    keys,
    promptTokens,
    outputTokens,
    reservedTokens: Math.max(0, uncachedTokens) + outputTokens,
    slot: slots[0] ?? NO_SLOT,
    endpoints: Array.from(slots, (slot) => pool.endpoint(slot)!.address),
    stages: stagesOf(picked, pool),
    prefill: prefillOf(picked, promptTokens),
    responseHeaders,
  };
}

/** What the Worker is told of a ticket. */
export function grantOf(ticket: Ticket, objectEpoch: string, wantsContent: boolean): PickGrant {
  const { id, endpoints, stages, responseHeaders } = ticket;
  return {
    ok: true,
    ticket: id,
    endpoints,
    ...(stages === undefined ? {} : { stages }),
    objectEpoch,
    ...(wantsContent ? { wantsContent: true } : {}),
    ...(responseHeaders === undefined ? {} : { responseHeaders }),
  };
}
