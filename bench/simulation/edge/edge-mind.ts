// An isolate that goes by the shipped rule, with the shipped replica, picker and credit.
//
// Mirrors src/worker/edge/{local-choice,object-link,edge-calls}.ts, which need real time: one call at a time to each object;
// what comes meanwhile goes with the next, and one that got lost is made again. What is asked about while it is on its
// way is asked with a call of its own, which does not get lost.

import { encodeTicketName } from "../../../src/agents/protocol/ticket-name.ts";
import type { EdgeSynced } from "../../../src/durable/contract.ts";
import { CreditHolder } from "../../../src/scheduler/credits/credit-holder.ts";
import {
  afterPick,
  askingMeanwhile,
  type DecideMode,
  decideWhere,
} from "../../../src/scheduler/edge/consult-rule.ts";
import type { ConsultTerms, LocalCommit } from "../../../src/scheduler/edge/contracts.ts";
import { PoolReplica } from "../../../src/scheduler/edge/pool-replica.ts";
import type { Picked } from "../../../src/scheduler/endpoint-picker.ts";
import { CONTENT_BLOCK_TOKENS } from "../../../src/scheduler/kv/content-keys.ts";
import {
  type InferenceRequest,
  reservedOutputTokens,
} from "../../../src/scheduler/model/inference-request.ts";
import {
  EDGE_GATHER_MS,
  EDGE_GATHERS_MAX,
  GATHERED_COMMITS,
} from "../../../src/worker/edge/edge-calls.ts";
import { ObjectRtt } from "../../../src/worker/edge/object-rtt.ts";
import { Outbox } from "../../../src/worker/edge/outbox.ts";
import type { AnsweredAt, Asked, Decided, Mind, MindContext } from "./ways.ts";

/** A call without an answer is given up after so long, and made again a while later. */
const SYNC_DEADLINE_MS = 2_000;
const SYNC_RETRY_MS = 500;
/** A replica of this age is renewed with the next pick that is asked for. */
const REPLICA_ASK_MS = 50;
/** Requests. */
const CREDIT_WANT_MIN = 4;
const CREDIT_WANT_MAX = 4_096;

export class EdgeMind implements Mind {
  readonly #context: MindContext;
  readonly #mode: DecideMode;
  readonly #views: (ShardView | undefined)[] = [];

  constructor(context: MindContext, mode: DecideMode) {
    this.#context = context;
    this.#mode = mode;
  }

  decide(request: InferenceRequest, shard: number): Decided {
    return this.#view(shard).decide(request, this.#mode);
  }

  asks(shard: number): Asked {
    return this.#view(shard).asks();
  }

  answered(shard: number, answer: EdgeSynced, at: AnsweredAt): void {
    this.#view(shard).answered(answer, at);
  }

  #view(shard: number): ShardView {
    return (this.#views[shard] ??= new ShardView(this.#context, shard));
  }
}

/** What is spent, and what for. */
interface Claim {
  readonly slot: number;
  readonly uncachedTokens: number;
  readonly outputTokens: number;
  readonly reservedTokens: number;
}

/** What an isolate has of one object. */
class ShardView {
  readonly #context: MindContext;
  readonly #shard: number;
  readonly #replica: PoolReplica;
  readonly #credit: CreditHolder;
  readonly #rtt = new ObjectRtt();
  readonly #outbox = new Outbox(() => {});
  /** Of the call that is under way. */
  #firstUnderWay: number | undefined;
  #countUnderWay = 0;
  #isCalling = false;
  #tickets = 0;

  constructor(context: MindContext, shard: number) {
    this.#context = context;
    this.#shard = shard;
    this.#replica = new PoolReplica({ seed: seedOf(context.rng) });
    this.#credit = new CreditHolder({
      scope: `pool/${shard}`,
      id: context.epoch,
      wantMin: CREDIT_WANT_MIN,
      wantMax: CREDIT_WANT_MAX,
    });
  }

  decide(request: InferenceRequest, mode: DecideMode): Decided {
    const nowMs = this.#context.nowMs();
    const terms = decideWhere({
      mode,
      isLocalCapable: true,
      isAway: false,
      rttMs: this.#rtt.rttMs(nowMs) ?? Infinity,
      snapshot: this.#replica.facts(nowMs),
      credit: this.#credit.available(nowMs),
      neededTokens: 1,
      priority: request.priority,
    });
    // What is refused counts as wanted.
    if (terms.reason === "no-credit") this.#credit.trySpend(1, nowMs);
    if (terms.where === "consult") return { reason: terms.reason, local: undefined };
    return this.#pick(request, terms, mode);
  }

  #pick(request: InferenceRequest, before: ConsultTerms, mode: DecideMode): Decided {
    const nowMs = this.#context.nowMs();
    const seed = seedOf(this.#context.rng);
    const picked = this.#replica.pick(this.#context.picker, request, { nowMs, seed });
    if (!picked.ok) return { reason: "full", local: undefined };
    const slot = picked.slots[0]!;
    const rule = afterPick(before, this.#replica.missed(request, slot, nowMs));
    const terms = mode === "auto" ? askingMeanwhile(rule) : rule;
    const cachedTokens = picked.matchedBlocks * CONTENT_BLOCK_TOKENS;
    const claim = claimOf(request, slot, cachedTokens);
    if (terms.where === "consult") return this.#propose(request, terms.reason, claim);
    if (!this.#credit.trySpend(1, nowMs)) return this.#propose(request, "no-credit", claim);
    if (terms.reason === "asked-meanwhile") return this.#sendAsked(request, picked, terms, claim);
    return this.#send(request, picked, { terms, claim });
  }

  #propose(request: InferenceRequest, reason: Decided["reason"], claim: Claim) {
    const { slot, reservedTokens, uncachedTokens } = claim;
    const prompt = { promptTokens: request.promptTokens, uncachedTokens };
    const nowMs = this.#context.nowMs();
    const number = this.#replica.proposed(slot, reservedTokens, nowMs, prompt);
    return { reason, local: undefined, proposal: { slot, number } };
  }

  /** As src/worker/edge/sent-meanwhile.ts. */
  #sendAsked(
    request: InferenceRequest,
    picked: Picked,
    terms: ConsultTerms,
    claim: Claim,
  ): Decided {
    const nowMs = this.#context.nowMs();
    this.#replica.learn(request.keys, claim.slot, nowMs);
    const slots = Array.from(picked.slots);
    const sent = { ...this.#commitOf(request, slots, { terms, claim }), decidedAgoMs: 0 };
    const { reason, proposal } = this.#propose(request, terms.reason, claim);
    return { reason, proposal, local: { slots, ticket: sent.ticket }, sent };
  }

  #send(
    request: InferenceRequest,
    picked: Picked,
    { terms, claim }: { readonly terms: ConsultTerms; readonly claim: Claim },
  ): Decided {
    const nowMs = this.#context.nowMs();
    const { slot, reservedTokens, uncachedTokens } = claim;
    const { keys, promptTokens } = request;
    const prompt = { promptTokens, uncachedTokens };
    this.#replica.learn(keys, slot, nowMs);
    const number = this.#replica.dispatched(slot, reservedTokens, nowMs, prompt);
    const slots = Array.from(picked.slots);
    const commit = this.#commitOf(request, slots, { terms, claim });
    this.#outbox.addCommit({ number, commit, decidedAtMs: nowMs });
    this.#callAfter(EDGE_GATHER_MS);
    return { reason: terms.reason, local: { slots, ticket: commit.ticket } };
  }

  #commitOf(
    { requestId, tenant, model, keys, promptTokens, priority }: InferenceRequest,
    slots: readonly number[],
    { terms, claim }: { readonly terms: ConsultTerms; readonly claim: Claim },
  ): Omit<LocalCommit, "decidedAgoMs"> {
    const { outputTokens, reservedTokens } = claim;
    const facts = { promptTokens, outputTokens, reservedTokens, priority };
    const ticket = encodeTicketName(this.#context.epoch, ++this.#tickets, facts);
    const endpoints = slots.map((each) => this.#replica.addressOf(each)!);
    const whose = { requestId, attempt: 0, tenant, fairnessId: tenant, weight: 1, model };
    return { ...whose, ...facts, ticket, keys, endpoints, terms };
  }

  asks(): Asked {
    const nowMs = this.#context.nowMs();
    const credit = this.#credit.ask(nowMs, this.#outbox.commitCount + this.#countUnderWay);
    const ageMs = this.#replica.facts(nowMs)?.ageMs ?? Infinity;
    return { credit, ...(ageMs >= REPLICA_ASK_MS ? { edge: this.#replica.known } : {}) };
  }

  answered(answer: EdgeSynced, { request, slot, proposal, askedAtMs }: AnsweredAt): void {
    const nowMs = this.#context.nowMs();
    const replica = this.#replica;
    if (proposal !== undefined) replica.answered(proposal.number);
    this.#rtt.add(nowMs - askedAtMs, nowMs);
    this.#heard(answer, { askedAtMs, shown: this.#shownNow() });
    if (slot !== undefined && replica.snapshot !== undefined) {
      const cachedTokens = replica.knownBlocks(request.keys, slot, nowMs) * CONTENT_BLOCK_TOKENS;
      const { reservedTokens, uncachedTokens } = claimOf(request, slot, cachedTokens);
      const prompt = { promptTokens: request.promptTokens, uncachedTokens };
      if (answer.snapshot === undefined) replica.dispatched(slot, reservedTokens, nowMs, prompt);
      replica.learn(request.keys, slot, nowMs);
    }
    // Behind the request: the next ones may be decided here.
    if (replica.known.digest === "" || replica.isToBeRenewed(nowMs))
      this.#callAfter(EDGE_GATHER_MS);
  }

  /** The object knows of the dispatches up to this one: those after it wait, or are on their way. */
  #shownNow(): number {
    const first = this.#firstUnderWay ?? this.#outbox.firstNumber;
    return first === undefined ? this.#replica.lastDispatch : first - 1;
  }

  #heard({ snapshot, credit }: EdgeSynced, at: { askedAtMs: number; shown: number }): void {
    const nowMs = this.#context.nowMs();
    if (credit !== undefined) this.#credit.granted(credit, at.askedAtMs);
    if (snapshot === undefined) return;
    const asOfMs = Math.max(at.askedAtMs, nowMs - (this.#rtt.rttMs(nowMs) ?? 0) / 2);
    this.#replica.apply(snapshot, { asOfMs, nowMs, shown: at.shown });
  }

  #callAfter(ms: number): void {
    if (this.#isCalling) return;
    this.#isCalling = true;
    if (ms === EDGE_GATHER_MS) this.#gather(EDGE_GATHERS_MAX);
    else this.#context.after(ms, () => this.#call());
  }

  /** Waits for what is to go with the next call, for as long as more comes. */
  #gather(gathers: number): void {
    const before = this.#outbox.commitCount;
    this.#context.after(EDGE_GATHER_MS, () => {
      const { commitCount } = this.#outbox;
      const isWorthIt = commitCount > before && commitCount < GATHERED_COMMITS;
      if (isWorthIt && gathers > 1) this.#gather(gathers - 1);
      else this.#call();
    });
  }

  #call(): void {
    const askedAtMs = this.#context.nowMs();
    const batch = this.#outbox.take();
    const credit = this.#credit.ask(askedAtMs, this.#outbox.commitCount);
    const shown = this.#shownNow();
    this.#firstUnderWay = batch.commits[0]?.number;
    this.#countUnderWay = batch.commits.length;
    const commits = batch.commits.map(({ commit, decidedAtMs }) => {
      return { ...commit, decidedAgoMs: askedAtMs - decidedAtMs };
    });
    let isOver = false;
    const end = (synced: EdgeSynced | undefined): void => {
      if (isOver) return;
      isOver = true;
      this.#isCalling = false;
      this.#firstUnderWay = undefined;
      this.#countUnderWay = 0;
      if (synced === undefined) this.#outbox.putBack(batch);
      else this.#synced(synced, { askedAtMs, shown });
      if (!this.#outbox.isEmpty)
        this.#callAfter(synced === undefined ? SYNC_RETRY_MS : EDGE_GATHER_MS);
    };
    const sync = { known: this.#replica.known, credit, commits, ends: [] };
    this.#context.sync(this.#shard, sync, end);
    this.#context.after(SYNC_DEADLINE_MS, () => end(undefined));
  }

  #synced(synced: EdgeSynced, at: { askedAtMs: number; shown: number }): void {
    const nowMs = this.#context.nowMs();
    this.#rtt.add(nowMs - at.askedAtMs, nowMs);
    this.#heard(synced, at);
  }
}

function claimOf(request: InferenceRequest, slot: number, cachedTokens: number): Claim {
  const outputTokens = reservedOutputTokens(request.outputTokensMax);
  const uncachedTokens = Math.max(0, request.promptTokens - cachedTokens);
  return { slot, uncachedTokens, outputTokens, reservedTokens: uncachedTokens + outputTokens };
}

function seedOf(rng: () => number): number {
  return Math.floor(rng() * 0x1_0000_0000);
}
