// What a pool's object is told of a request.

import type { PickFlow, PickRequest } from "../../durable/contract.ts";
import { encodeChoice } from "../../scheduler/decisions/pool-choices.ts";
import {
  type ResolvedObjective,
  resolveObjective,
} from "../../scheduler/flow-control/objectives.ts";
import type { Call } from "../call.ts";
import type { Pool } from "../directory-index.ts";
import type { Prepared } from "../parsers/parser.ts";
import type { Job } from "./job.ts";
import { readRequestFacts } from "../request-facts.ts";
import type { Tenant } from "../tenant.ts";

/** What a request of the tenant may claim of a pool. */
export function claimOf(
  headers: Pick<Headers, "get">,
  pool: Pick<Pool, "objectives">,
  tenant: Tenant,
): ResolvedObjective {
  return resolveObjective((name) => headers.get(name) ?? undefined, pool.objectives, tenant);
}

export interface PickFacts {
  readonly call: Pick<Call, "requestId">;
  /** The client's. */
  readonly headers: Pick<Headers, "get">;
  readonly tenant: Tenant;
  /** See Job. */
  readonly receivedAtMs: number;
  /** See Job. */
  readonly weightOf: (tenantId: string) => number | undefined;
  readonly pool: Pool;
  readonly prepared: Prepared;
  readonly claim: ResolvedObjective;
  readonly attempt: number;
  readonly exclude: readonly string[];
  /** Whether it may wait in the pool's queue. */
  readonly waits: boolean;
  /** Another pool may answer as well. */
  readonly hasOther: boolean;
  /** See Job. */
  readonly choice?: Job["choice"];
}

export function pickRequest(facts: PickFacts): PickRequest {
  const { call, headers, tenant, pool, prepared, claim, attempt, exclude } = facts;
  const { ttftSloMs } = claim;
  return {
    request: {
      requestId: call.requestId,
      model: prepared.model,
      tenant: tenant.id,
      priority: claim.priority,
      keys: prepared.keys,
      promptTokens: prepared.promptTokens,
      outputTokensMax: prepared.outputTokensMax,
      bodyBytes: prepared.body.byteLength,
      ...(prepared.media === undefined ? {} : { media: prepared.media }),
      // The objective's counts where the client does not say how fast it wants the answer.
      ...(ttftSloMs === undefined ? {} : { ttftSloMs }),
      ...readRequestFacts(headers, pool.requestHeaders),
    },
    attempt,
    exclude,
    ...(facts.waits ? { flow: flowOf(facts) } : {}),
    ...(facts.choice === undefined ? {} : { choice: encodeChoice(facts.choice) }),
  };
}

function flowOf(facts: PickFacts): PickFlow {
  const { tenant, claim, receivedAtMs, exclude, hasOther } = facts;
  return {
    fairnessId: claim.fairnessId,
    // A trusted hop may name a tenant's flow, but has no say in that tenant's share.
    weight: facts.weightOf(claim.fairnessId) ?? tenant.weight,
    receivedAtMs,
    // What is excluded has failed a moment ago: that is a failure, which waiting does not mend.
    waitsForEndpoints: !hasOther && exclude.length === 0,
    ...(claim.ttlMs === undefined ? {} : { ttlMs: claim.ttlMs }),
  };
}
