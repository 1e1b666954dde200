// A decision that an isolate takes alone: the pick over its replica, what it may have missed, and the credit for
// it.
//
//   rule: first step ──► pick ──► rule: second step ──► credit ──► Chosen
//          └───────────────┴─────────────┴─────────────────┴─────► why the object is to be asked
//
// The rule is in scheduler/edge/consult-rule.ts.

import type { PickRequest } from "../../durable/contract.ts";
import type { CreditHolder } from "../../scheduler/credits/credit-holder.ts";
import {
  afterPick,
  type DecideMode,
  decideWhere,
  type SnapshotFacts,
} from "../../scheduler/edge/consult-rule.ts";
import type { ConsultTerms } from "../../scheduler/edge/contracts.ts";
import type { PoolReplica } from "../../scheduler/edge/pool-replica.ts";
import type { EndpointPicker, Picked } from "../../scheduler/endpoint-picker.ts";
import { CONTENT_BLOCK_TOKENS } from "../../scheduler/kv/content-keys.ts";
import { reservedOutputTokens } from "../../scheduler/model/inference-request.ts";

/** What the decision is taken with. */
export interface ChoiceInput {
  readonly mode: DecideMode;
  readonly isLocalCapable: boolean;
  /** The object does not answer. */
  readonly isAway: boolean;
  readonly rttMs: number;
  readonly snapshot: SnapshotFacts | undefined;
  /** There where `snapshot` is. */
  readonly replica: PoolReplica | undefined;
  readonly credit: CreditHolder;
  readonly picker: EndpointPicker;
  readonly nowMs: number;
}

/** Endpoints, and what they are charged with. Valid until the next pick. */
export interface Chosen {
  readonly picked: Picked;
  readonly slot: number;
  readonly terms: ConsultTerms;
  readonly uncachedTokens: number;
  readonly outputTokens: number;
  readonly reservedTokens: number;
}

// Hot path.
export function chooseHere(pick: PickRequest, input: ChoiceInput): Chosen | ConsultTerms {
  const { request } = pick;
  const { credit, nowMs, isAway, replica } = input;
  const outputTokens = reservedOutputTokens(request.outputTokensMax);
  const terms = decideWhere({
    mode: input.mode,
    isLocalCapable: input.isLocalCapable,
    isAway,
    rttMs: input.rttMs,
    snapshot: input.snapshot,
    credit: credit.available(nowMs),
    neededTokens: 1,
    priority: request.priority,
  });
  // What is refused counts as wanted.
  if (terms.reason === "no-credit") credit.trySpend(1, nowMs);
  if (terms.where === "consult" || replica === undefined) return terms;
  const picked = pickFrom(replica, pick, input);
  if (!picked.ok) return { ...terms, where: "consult", reason: "full" };
  const slot = picked.slots[0]!;
  const told = afterPick(terms, replica.missed(request, slot, nowMs));
  if (told.where === "consult") return told;
  const cachedTokens = picked.matchedBlocks * CONTENT_BLOCK_TOKENS;
  const uncachedTokens = Math.max(0, request.promptTokens - cachedTokens);
  const reservedTokens = uncachedTokens + outputTokens;
  // While the object is away there is nobody to ask: what is over, relays bound.
  if (!isAway && !credit.trySpend(1, nowMs))
    return { ...told, where: "consult", reason: "no-credit" };
  return { picked, slot, terms: told, uncachedTokens, outputTokens, reservedTokens };
}

function pickFrom(
  replica: PoolReplica,
  { request, exclude }: PickRequest,
  { picker, nowMs }: ChoiceInput,
) {
  const seed = (Math.random() * 2 ** 32) >>> 0;
  const at = exclude.length === 0 ? { nowMs, seed } : { nowMs, seed, exclude };
  return replica.pick(picker, request, at);
}
