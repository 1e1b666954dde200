// What an isolate says to a pool's object.

import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { EDGE_EPOCH_PREFIX, encodeTicketName } from "../../../src/agents/protocol/ticket-name.ts";
import type { TicketClosed, TicketOpened } from "../../../src/agents/protocol/messages.ts";
import type {
  EdgeSync,
  EdgeSynced,
  HeldGrant,
  KeptPick,
  MovedPick,
  PickRefusal,
  PickRequest,
} from "../../../src/durable/contract.ts";
import type { CreditAsk } from "../../../src/scheduler/credits/contracts.ts";
import type { ConsultTerms, LocalCommit } from "../../../src/scheduler/edge/contracts.ts";
import { closed, contentKeys, opened, pickRequest, POOL, poolStub } from "../pool-client.ts";

export const NOTHING_KNOWN = { epoch: "", version: 0, digest: "" };

export const TERMS: ConsultTerms = {
  where: "local",
  reason: "nothing-to-gain",
  rttMs: 40,
  snapshotAgeMs: 120,
  credit: 7,
  saturation: 0.25,
  knownTokens: 640,
  possibleTokens: 640,
  gainMs: 0,
};

/** A request that was decided on alone; `n` tells it from others. */
export function localCommit(n: number, shape: Partial<LocalCommit> = {}): LocalCommit {
  const facts = { promptTokens: 1_280, outputTokens: 100, reservedTokens: 1_380, priority: 0 };
  return {
    requestId: `local-${n}`,
    attempt: 0,
    ticket: encodeTicketName(`${EDGE_EPOCH_PREFIX}0a1`, n, facts),
    tenant: "acme",
    fairnessId: "acme",
    weight: 1,
    model: "m",
    keys: contentKeys(50 + n),
    ...facts,
    endpoints: ["10.0.0.1:8000"],
    decidedAgoMs: 5,
    terms: TERMS,
    ...shape,
  };
}

export async function sync(told: Partial<EdgeSync>): Promise<EdgeSynced> {
  const whole = { known: NOTHING_KNOWN, commits: [], ends: [], ...told };
  // What comes through RPC has the types of stubs.
  const synced = await env.POOLS.sync(POOL, whole);
  return synced as unknown as EdgeSynced;
}

/** What an object answers to whoever asks about what was sent. */
export type SentAnswer = (HeldGrant | KeptPick | PickRefusal | MovedPick) & Partial<Disposable>;

/** Of the attempt that is granted in the place of the first. */
export const OTHER_ATTEMPT = 1;

/** The pool's object, or the one at `address`, is asked about `sent`, as an isolate asks that has sent it. */
export async function askAbout(
  sent: LocalCommit,
  more: Partial<PickRequest> = {},
  address = POOL,
): Promise<SentAnswer> {
  const { requestId, keys, promptTokens } = { ...localCommit(1), ...sent };
  const asked = pickRequest(requestId ?? "r", { keys, promptTokens });
  const pick = { ...asked, attempt: OTHER_ATTEMPT, sent, ...more };
  // What comes through RPC has the types of stubs.
  return (await env.POOLS.pick(address, pick)) as unknown as SentAnswer;
}

/** Its endpoint is at a prompt that takes it long. */
export async function occupy(address: string): Promise<void> {
  const long = { promptTokens: 60_000, reservedTokens: 60_100, endpoints: [address] };
  await sync({ commits: [localCommit(900, long)] });
}

export function creditAsk(want: number, others: Partial<CreditAsk> = {}): CreditAsk {
  return { scope: `pool/${POOL}`, holder: "i1", epoch: "", spent: 0, want, ...others };
}

const grantOf = ({ ticket, endpoints }: LocalCommit) => ({
  ok: true as const,
  ticket,
  endpoints,
  objectEpoch: "",
});
const subjectOf = ({ requestId, tenant, model }: LocalCommit) => ({ requestId, tenant, model });

/** What a relay reports of it. */
export const openedOf = (commit: LocalCommit): TicketOpened => ({
  ...opened(grantOf(commit)),
  ...subjectOf(commit),
});
export const closedOf = (commit: LocalCommit): TicketClosed => ({
  ...closed(grantOf(commit)),
  ...subjectOf(commit),
});

/** The same of one that was called off. */
export const cancelledOf = (commit: LocalCommit): TicketClosed => ({
  ...closedOf(commit),
  outcome: "cancelled",
  ttftMs: null,
  promptTokens: null,
  cachedTokens: null,
  completionTokens: null,
});
/** And of what was granted in its place. */
export const openedBy = (grant: HeldGrant): TicketOpened => ({
  ...opened(grant),
  attempt: OTHER_ATTEMPT,
});
export const closedBy = (grant: HeldGrant): TicketClosed => ({
  ...closed(grant),
  attempt: OTHER_ATTEMPT,
});

/** Requests that somebody pays for. */
export const billed = () =>
  runInDurableObject(poolStub(), (_, { storage }) => {
    const [row] = storage.sql.exec("SELECT TOTAL(requests) AS requests FROM usage").toArray();
    return row!["requests"];
  });
