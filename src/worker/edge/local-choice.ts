// A decision that an isolate takes alone: the pick over its replica, what it may have missed, and the credit for
// it.
//
//   rule: first step ──► pick ──► rule: second step ──► credit ──► Chosen
//          │               │             │   or to be asked meanwhile
//          └───────────────┴─────────────┴─────────────────┴─────► why the object is to be asked
//
// The rule is in scheduler/edge/consult-rule.ts.

import type { PickRequest } from "../../durable/contract.ts";
import type { SchedulerConfig } from "../../scheduler/config/scheduler-config.ts";
import type { CreditHolder } from "../../scheduler/credits/credit-holder.ts";
import { type PickedPrefill, prefillOf } from "../../scheduler/disaggregation/pick-stages.ts";
import {
  afterPick,
  askingMeanwhile,
  type DecideMode,
  decideWhere,
  type SnapshotFacts,
} from "../../scheduler/edge/consult-rule.ts";
import type { ConsultTerms } from "../../scheduler/edge/contracts.ts";
import type { PickAt, PoolReplica } from "../../scheduler/edge/pool-replica.ts";
import type { EndpointPicker, Picked } from "../../scheduler/endpoint-picker.ts";
import { CONTENT_BLOCK_TOKENS } from "../../scheduler/kv/content-keys.ts";
import { reservedOutputTokens } from "../../scheduler/model/inference-request.ts";
import type { LocalRecords } from "./local-records.ts";

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
  /** What it is made of, and the configuration's version. */
  readonly scheduler: SchedulerConfig;
  readonly configVersion: number;
  readonly records: LocalRecords;
  readonly nowMs: number;
}

/** An endpoint, and what it is charged with. */
interface Claim {
  readonly slot: number;
  readonly uncachedTokens: number;
  readonly outputTokens: number;
  readonly reservedTokens: number;
  /** Another one computes the prompt. */
  readonly prefill: PickedPrefill | undefined;
}

/** Endpoints in the order to try them. Valid until the next pick. */
export interface Chosen extends Claim {
  readonly picked: Picked;
  readonly terms: ConsultTerms;
}

/** The object is to be asked. */
export interface ToAsk {
  readonly terms: ConsultTerms;
  /**
   * Where it would go from here, as far as that is known. Not where another endpoint computes the prompt: the object
   * takes a proposal by what the endpoint has to compute, and what it holds.
   */
  readonly claim?: Claim;
}

// Hot path.
export function chooseHere(pick: PickRequest, input: ChoiceInput): Chosen | ToAsk {
  const { request } = pick;
  const { credit, nowMs, isAway, replica } = input;
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
  if (terms.where === "consult" || replica === undefined) return { terms };
  const isolates = replica.snapshot?.lane?.count ?? 1;
  const recorder = input.records.recorderFor(pick.exclude.length > 0, nowMs, isolates);
  const at = pickAt(pick, nowMs);
  const picked = replica.pick(input.picker, request, at, recorder);
  if (!picked.ok) return { terms: { ...terms, where: "consult", reason: "full" } };
  const claim = claimOf(pick, picked);
  const rule = afterPick(terms, replica.missed(request, claim.slot, nowMs));
  const mayCallOff = rule.where === "consult" && maySendMeanwhile(pick, claim, input);
  const told = mayCallOff ? askingMeanwhile(rule) : rule;
  if (told.where === "consult") return toAsk(told, claim);
  // While the object is away there is nobody to ask: what is over, relays bound.
  if (!isAway && !credit.trySpend(1, nowMs))
    return toAsk({ ...told, where: "consult", reason: "no-credit" }, claim);
  if (recorder !== undefined) keepRecord(pick, picked, { replica, seed: at.seed, input });
  return { ...claim, picked, terms: told };
}

/** Not where the object might choose another for reasons of its own: it would call off half of what was sent. */
function maySendMeanwhile(
  { request }: PickRequest,
  { prefill }: Claim,
  { mode, picker, replica }: ChoiceInput,
): boolean {
  if (mode !== "auto" || prefill !== undefined || picker.profileCount > 1) return false;
  return picker.maySpare({ endpoints: replica!.columns, request });
}

function toAsk(terms: ConsultTerms, claim: Claim): ToAsk {
  return claim.prefill === undefined ? { terms, claim } : { terms };
}

function claimOf({ request }: PickRequest, picked: Picked): Claim {
  const { slots, matchedBlocks } = picked;
  const outputTokens = reservedOutputTokens(request.outputTokensMax);
  const cachedTokens = matchedBlocks * CONTENT_BLOCK_TOKENS;
  const uncachedTokens = Math.max(0, request.promptTokens - cachedTokens);
  const reservedTokens = uncachedTokens + outputTokens;
  const prefill = prefillOf(picked, request.promptTokens);
  return { slot: slots[0]!, uncachedTokens, outputTokens, reservedTokens, prefill };
}

function pickAt({ exclude }: PickRequest, nowMs: number): PickAt {
  const seed = (Math.random() * 2 ** 32) >>> 0;
  return exclude.length === 0 ? { nowMs, seed } : { nowMs, seed, exclude };
}

interface RecordedWith {
  readonly replica: PoolReplica;
  readonly seed: number;
  readonly input: ChoiceInput;
}

/** The request is in no column yet. */
function keepRecord(
  { request, attempt, exclude }: PickRequest,
  { kvSource }: Picked,
  { replica, seed, input }: RecordedWith,
): void {
  const { configVersion, scheduler, records } = input;
  const { requestId } = request;
  const excluded = exclude.map((address) => replica.slotOfAddress(address));
  const facts = { attempt, configVersion, scheduler, seed, exclude: excluded, kvSource };
  records.keep({ requestId, facts, endpoints: replica.directory });
}
