// agent-identity: the coding agent's session that a request belongs to, by the headers that such agents
// send.
//
//   value = the first that is there of additionalSessionHeaders, x-claude-code-session-id,
//           x-session-affinity, session-id, session_id
//
// Source: llm-d-router pkg/epp/framework/plugins/requestcontrol/requestheader/agentidentity. It tells the id
// to whoever names `agent-identity` as the source of a session. The id is the client's own word. llm-d
// also takes it for the tenant where no fairness id is given; here the tenant is whose API key it is,
// always. O(headers).

import { z } from "zod";
import { headerName } from "../../header-names.ts";
import { requestHeader } from "../../model/inference-request.ts";
import { type DataProducer, definePlugin, type PickContext } from "../../plugin.ts";

/** As agents of today send them; the order is llm-d's. */
const AGENT_HEADERS = [
  "x-claude-code-session-id",
  "x-session-affinity",
  "session-id",
  "session_id",
];
const ADDITIONAL_HEADERS_MAX = 8;

const params = z.strictObject({
  additionalSessionHeaders: z
    .array(headerName)
    .max(ADDITIONAL_HEADERS_MAX)
    .default([])
    .describe("Headers that are looked at before the known ones"),
});

function headersOf({ additionalSessionHeaders }: z.output<typeof params>): string[] {
  return [...new Set([...additionalSessionHeaders, ...AGENT_HEADERS])];
}

class AgentIdentity implements DataProducer {
  readonly #headers: readonly string[];
  readonly #session: { value: string | undefined } = { value: undefined };
  readonly data = { "session-id": this.#session };

  constructor(headers: readonly string[]) {
    this.#headers = headers;
  }

  produce({ request }: PickContext): void {
    this.#session.value = undefined;
    for (const header of this.#headers) {
      const value = requestHeader(request, header)?.trim();
      if (value === undefined || value === "") continue;
      this.#session.value = value;
      return;
    }
  }
}

export const agentIdentity = definePlugin({
  type: "agent-identity",
  kinds: ["request-header", "data-producer"],
  stability: "alpha",
  produces: ["session-id"],
  params,
  requestHeaders: headersOf,
  notes: () => ["The id does not name a tenant: fairness is by the API key's tenant."],
  create: (given) => new AgentIdentity(headersOf(given)),
});
