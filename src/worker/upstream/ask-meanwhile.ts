// A request that is sent to where this isolate would have it, and that the pool's object is asked about while it is
// on its way: nobody waits for the way to the object, and it has its say all the same.
//
//   isolate ── request ──────────► relay ──► engine
//      └────── sent, and where? ─► object ── kept ───────► goes on
//                                    └────── called off ─► closed there, and sent to another
//
// What is to be called off has not been answered. A stream's head says nothing of that, for engines send it before
// they begin: it waits for the object's word, as long as that may take. An answer that is there wins.

import type { PickRequest } from "../../durable/contract.ts";
import type { ConsultTerms } from "../../scheduler/edge/contracts.ts";
import { METRIC } from "../../telemetry/names.ts";
import type { AskingMeanwhile } from "../edge/edge-pool.ts";
import { metrics } from "../metrics.ts";
import { adopt } from "./adopted-grant.ts";
import { askObject, CLIENT_LEFT } from "./ask-object.ts";
import type { Grant, Meanwhile, PickContext } from "./pool-picks.ts";
import type { RelayAnswer } from "./relay-fetch.ts";

/** The request has long been answered, or has no answer to wait for. */
const ANSWER_MS_MAX = 1_500;
/** An answer to what is asked meanwhile takes a round trip, give or take. */
const WAIT_ROUND_TRIPS = 1.25;
const WAIT_MS = 10;
/** An object that is farther, or slower, is not waited for. */
const WAIT_MS_MAX = 250;
/** An object that is not heard any more has what its ticket's relay says. */
const LOSE_MS_MAX = 500;

/** The grant to send the request by, and what the object says of it. */
export function askMeanwhile(
  request: PickRequest,
  context: PickContext,
  asking: AskingMeanwhile,
): Grant {
  const attempt = context.reserveAttempt();
  const rather = hear(request, context, { ...asking, attempt });
  const wordMs = WAIT_MS + WAIT_ROUND_TRIPS * asking.terms.rttMs;
  const waitMs = wordMs > WAIT_MS_MAX ? 0 : wordMs;
  return { ...asking.meanwhile.grant, meanwhile: { rather, attempt, waitMs } };
}

/** Never rejects. */
async function hear(
  request: PickRequest,
  context: PickContext,
  asking: AskingMeanwhile & { readonly attempt: number },
): Promise<Grant | undefined> {
  const { edge, view } = context;
  const { meanwhile, attempt, terms } = asking;
  const askedAtMs = Date.now();
  const pick = edge.askingMeanwhile(request, asking, attempt, askedAtMs);
  const measured = (ms: number, atMs: number) => edge.link.measured(ms, atMs);
  const answer = await askObject({ ...context, measured }, pick, ANSWER_MS_MAX);
  const outcome = outcomeOf(answer);
  metrics.inc(METRIC.edgeAskedMeanwhileTotal, { pool: edge.name, outcome });
  // One that is slow may have requests waiting, which no other may pass: whether it is there, a pick finds out.
  if (outcome === "unanswered" && !context.hasQueue) view.markAway(Date.now());
  else if (outcome !== "unanswered" && outcome !== "left") view.markBack();
  if (answer.ok === true && answer.callsOff === true) {
    meanwhile.calledOff();
    const why: ConsultTerms = { ...terms, where: "consult", reason: "stale" };
    return adopt(answer, pick, { edge, terms: why, askedAtMs });
  }
  if (answer.ok === "kept") edge.kept(asking, answer, askedAtMs);
  else {
    meanwhile.untold(Date.now());
    // Of an object of the release before, which does not know that it was sent.
    if ("handle" in answer) answer[Symbol.dispose]();
  }
  edge.renew(context, Date.now());
  return undefined;
}

/** Closed set; a metric label. `other`: an object of the release before, one that takes no requests any more, or nothing it knows. */
type Outcome = "kept" | "called-off" | "left" | "unanswered" | "other";

function outcomeOf(answer: Awaited<ReturnType<typeof askObject>>): Outcome {
  if (answer === CLIENT_LEFT) return "left";
  if (answer.ok === "kept") return "kept";
  if (answer.ok === true && answer.callsOff === true) return "called-off";
  return answer.ok === false && answer.reason === "unavailable" ? "unanswered" : "other";
}

/** How a grant is sent by, as which attempt. Never rejects. */
export type Send = (grant: Grant, attempt: number, signal: AbortSignal) => Promise<RelayAnswer>;

interface Served {
  readonly answer: RelayAnswer;
  /** Whose it is. */
  readonly grant: Grant;
  /** The object had it sent elsewhere than it was. */
  readonly isMoved: boolean;
}

interface Sending extends Pick<PickContext, "signal" | "hold"> {
  readonly attempt: number;
  readonly send: Send;
}

/** Sends by the grant, or by the one that the object would rather have. `signal` is aborted when the client leaves. Never rejects. */
export async function sendAskedMeanwhile(
  grant: Grant,
  { rather, attempt: otherAttempt, waitMs }: Meanwhile,
  { attempt, send, signal, hold }: Sending,
): Promise<Served> {
  const calledOff = new AbortController();
  const sentAtMs = Date.now();
  const first = send(grant, attempt, AbortSignal.any([signal, calledOff.signal]));
  const other =
    (await Promise.race([first.then(() => undefined), rather])) ??
    (await ratherThan(await first, rather, sentAtMs + waitMs - Date.now()));
  if (other === undefined) {
    // It may come yet.
    hold(rather.then(lose));
    return { answer: await first, grant, isMoved: false };
  }
  grant.release("cancelled");
  calledOff.abort();
  hold(first.then(drop));
  const answer = await send(other, otherAttempt, signal);
  return { answer, grant: other, isMoved: true };
}

/** Of what has begun to be answered. */
async function ratherThan(
  answer: RelayAnswer,
  rather: Promise<Grant | undefined>,
  waitMs: number,
): Promise<Grant | undefined> {
  const isOpen =
    answer.kind === "answered" &&
    answer.response.status === 200 &&
    answer.response.headers.get("content-type")?.startsWith("text/event-stream") === true;
  if (!isOpen) return undefined;
  const { promise: over, resolve } = Promise.withResolvers<undefined>();
  const timer = setTimeout(resolve, Math.max(0, waitMs));
  try {
    return await Promise.race([rather, over]);
  } finally {
    clearTimeout(timer);
  }
}

/** The ticket of what was sent is billed by its relay's word. */
async function lose(late: Grant | undefined): Promise<void> {
  await late?.lose(LOSE_MS_MAX);
  late?.[Symbol.dispose]();
}

async function drop(answer: RelayAnswer): Promise<void> {
  if (answer.kind !== "answered") return;
  try {
    await answer.response.body?.cancel();
  } catch {
    // Closed already.
  }
}
