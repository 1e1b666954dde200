// What a request brings to dispatching, and what comes of it.

import type { Deployment } from "../../config/deployment.ts";
import type { PoolAddress } from "../../config/pool-address.ts";
import type { EdgePort, PoolPort } from "../../durable/contract.ts";
import type { PoolCandidate } from "../../scheduler/pools/contracts.ts";
import type { Call } from "../call.ts";
import type { ModelRoute } from "../model-routes.ts";
import { type ApiError, dropError } from "../openai/errors.ts";
import type { Preparation } from "../parsers/preparation.ts";
import type { RequestTelemetry } from "../telemetry.ts";
import type { Tenant } from "../tenant.ts";
import type { FileBindings } from "../token-keys/model-files.ts";
import type { Grant } from "./pool-picks.ts";
import type { RelayAnswer } from "./relay-fetch.ts";

export interface Job {
  readonly call: Call;
  readonly telemetry: Pick<RequestTelemetry, "facts" | "trace">;
  readonly tenant: Tenant;
  /** Unix ms at which its body was complete: a slow upload is no wait in a queue. */
  readonly receivedAtMs: number;
  /** The share of the tenant of this id; undefined for what is no tenant's id. */
  readonly weightOf: (tenantId: string) => number | undefined;
  /** The request as a pool's engines are to see it. */
  readonly prepare: Preparation;
  /** In the order to try them; at least one. */
  readonly routes: readonly ModelRoute[];
  /** What the order was made of, best first, at most CHOICE_CANDIDATES_MAX; undefined where there was nothing to choose. */
  readonly choice?: readonly PoolCandidate[] | undefined;
  /** Told of each pool that the request is sent to, right before. */
  readonly dispatched?: (pool: string) => void;
  readonly routing: Pick<Deployment["routing"], "retryPoolsMax" | "hedge">;
  /** The client's. */
  readonly headers: Pick<Headers, "get">;
  /** Where models' files may be, for pools that have prompts tokenized here. */
  readonly bindings: FileBindings;
  /** A fresh way to a pool's object. */
  readonly port: (pool: PoolAddress) => PoolPort & Partial<EdgePort>;
  /** Aborted when the client leaves. */
  readonly signal: AbortSignal;
  /** Keeps the request's context alive for work that its answer does not wait for. Never rejects. */
  readonly hold: (work: Promise<void>) => void;
}

/** One way of a job through pools: the only one, or one of two where it is asked for twice. */
export interface Leg extends Job {
  /** Never the same for two attempts of a job. */
  readonly nextAttempt: () => number;
  /** Likewise of one that may not be made. Whoever makes it says so. */
  readonly reserveAttempt: () => number;
  /** Pools whose retry budgets the job has paid into, whichever way it came. */
  readonly paid: Set<string>;
  /** Absent: nobody wants to know. */
  readonly watch?: LegWatch;
}

export interface LegWatch {
  /** Endpoints were granted, and the request is on its way to the first of them. */
  sent(grant: Grant, pool: string): void;
  /** What came of it. */
  ended(answer: RelayAnswer): void;
}

interface Answered {
  readonly ok: true;
  readonly response: Response;
  readonly endpoint: string;
  /** Dispose it when the answer has ended: until then it guards the ticket. */
  readonly grant: Grant;
}

export type Dispatched = Answered | { readonly ok: false; readonly error: ApiError };

/** How one pool has answered. */
export type PoolOutcome =
  | (Answered & {
      /** An engine's refusal, 429, 502 or 503: another pool may do better. */
      readonly isRefusal: boolean;
    })
  | {
      readonly ok: false;
      readonly error: ApiError;
      /**
       * final: no other pool would answer otherwise. full: its object has no room. refused: nothing was sent
       * either. failed: it was sent, and another attempt may make an engine work twice.
       */
      readonly why: "final" | "full" | "refused" | "failed";
    };

export function clientLeft(): PoolOutcome {
  return { ok: false, error: dropError("rejected-context-cancelled", 0), why: "final" };
}
