// What one isolate knows of one pool's object, and decides with it alone: a replica, a scheduler, credit, and how
// far the object is.
//
//   decide ──► rule: first step ──► pick over the replica ──► rule: second step ──► credit ──► grant, commit
//                 └────────────────────────────┴───────────────────┴──────────────────┴──► ask the object
//
// The rule is in scheduler/edge/consult-rule.ts.

import { EDGE_EPOCH_PREFIX, encodeTicketName } from "../../agents/protocol/ticket-name.ts";
import type { EdgeSynced, HeldGrant, PickRequest } from "../../durable/contract.ts";
import { CreditHolder } from "../../scheduler/credits/credit-holder.ts";
import { encodeTerms } from "../../scheduler/decisions/decided-where.ts";
import { prefillOf, stagesOf } from "../../scheduler/disaggregation/pick-stages.ts";
import {
  afterPick,
  decideWhere,
  NEAR_MS,
  SNAPSHOT_SERVES_AWAY_MS,
} from "../../scheduler/edge/consult-rule.ts";
import type { ConsultTerms, EdgeSnapshot, LocalCommit } from "../../scheduler/edge/contracts.ts";
import { PoolReplica } from "../../scheduler/edge/pool-replica.ts";
import type { Picked } from "../../scheduler/endpoint-picker.ts";
import { CONTENT_BLOCK_TOKENS } from "../../scheduler/kv/content-keys.ts";
import { reservedOutputTokens } from "../../scheduler/model/inference-request.ts";
import { METRIC } from "../../telemetry/names.ts";
import type { Pool } from "../directory-index.ts";
import { randomHex } from "../crypto.ts";
import { metrics } from "../metrics.ts";
import { knownPools } from "../pools/known-pools.ts";
import type { Grant } from "../upstream/pool-picks.ts";
import type { PoolView } from "../upstream/pool-view.ts";
import { EdgeCalls, type EdgeWay } from "./edge-calls.ts";
import { localGrant } from "./local-grant.ts";
import { LocalPicker } from "./local-picker.ts";
import { ObjectRtt } from "./object-rtt.ts";

/** A replica of this age is renewed with the next pick that is asked for. */
export const REPLICA_ASK_MS = 100;
/** The same where the isolate does not decide alone: only while the object is away. */
export const REPLICA_ASK_IDLE_MS = 1_000;
/** Credit that is asked for where nothing was wanted lately: a request or two. */
const CREDIT_WANT_MIN = 8_192;
const CREDIT_WANT_MAX = 4_000_000;

export interface EdgePoolOptions {
  /** Of the object. */
  readonly address: string;
  readonly pool: Pool;
  /** What is known of whether the object answers. */
  readonly view: Pick<PoolView, "markAway" | "markBack">;
  /** The isolate's; see EdgeKnown. */
  readonly seed: number;
}

/** A request's way to decide. */
export interface DecidingWay extends EdgeWay {
  /** Only what the object grants will do. */
  readonly needsObject?: boolean | undefined;
  /** The object decides while it answers. */
  readonly isConsulted?: boolean | undefined;
}

interface DecidingAt {
  readonly nowMs: number;
  /** The object does not answer. */
  readonly isAway: boolean;
}

export class EdgePool {
  readonly #name: string;
  readonly #view: EdgePoolOptions["view"];
  readonly #seed: number;
  readonly #epoch = EDGE_EPOCH_PREFIX + randomHex(7);
  readonly #rtt = new ObjectRtt();
  readonly #credit: CreditHolder;
  readonly #calls: EdgeCalls;
  #pool: Pool;
  #local: LocalPicker | undefined;
  #replica: PoolReplica | undefined;
  #ticketCount = 0;
  /** Unix ms of the last request. */
  usedAtMs = 0;

  constructor({ address, pool, view, seed }: EdgePoolOptions) {
    this.#name = pool.config.name;
    this.#view = view;
    this.#seed = seed;
    this.#pool = pool;
    this.#credit = new CreditHolder({
      scope: `pool/${address}`,
      id: this.#epoch,
      wantMin: CREDIT_WANT_MIN,
      wantMax: CREDIT_WANT_MAX,
    });
    const labels = { pool: this.#name };
    this.#calls = new EdgeCalls({
      ask: (nowMs, untoldTokens) => ({
        known: this.#known(nowMs),
        credit: this.#credit.ask(nowMs, untoldTokens),
      }),
      lastNumber: () => this.#replica?.lastDispatch ?? 0,
      answered: (synced, at) => this.#synced(synced, at),
      failed: (error) => this.#syncFailed(error),
      dropped: (count) => metrics.inc(METRIC.edgeCommitsDroppedTotal, labels, count),
    });
  }

  /** As a newer directory has it. */
  configure(pool: Pool): void {
    if (pool === this.#pool) return;
    this.#pool = pool;
    if (this.#local !== undefined) this.#local = LocalPicker.for(pool, this.#local);
  }

  /** Undefined while it is not known. */
  rttMs(nowMs: number): number | undefined {
    return this.#rtt.rttMs(nowMs);
  }

  /** Infinity without a replica. */
  ageMs(nowMs: number): number {
    return this.#replica?.facts(nowMs)?.ageMs ?? Infinity;
  }

  credit(nowMs: number): number {
    return this.#credit.available(nowMs);
  }

  /** Whether requests can be served while the object is away. */
  canServe(nowMs: number): boolean {
    return this.ageMs(nowMs) < SNAPSHOT_SERVES_AWAY_MS && this.#hasEndpoint();
  }

  /** Whether the pool has, as far as is known, an endpoint beside this one. */
  knowsOther(address: string): boolean {
    const replica = this.#replica;
    if (replica === undefined) return false;
    const { columns } = replica;
    for (let slot = 0; slot < columns.slotCount; slot++)
      if (columns.isPresent[slot] === 1 && replica.addressOf(slot) !== address) return true;
    return false;
  }

  /** A grant of this isolate's own; or why the object is to be asked. */
  // Hot path.
  decide(pick: PickRequest, way: DecidingWay, at: DecidingAt): Grant | ConsultTerms {
    this.usedAtMs = at.nowMs;
    const terms = this.#firstTerms(pick, way, at);
    const decided = terms.where === "local" ? this.#pick(pick, way, { ...at, terms }) : terms;
    const { where, reason } = "ok" in decided ? decided.terms : decided;
    metrics.inc(METRIC.edgeDecisionsTotal, { pool: this.#name, where, reason });
    return decided;
  }

  /** The same pick as the object is to be asked for it. */
  asking(pick: PickRequest, terms: ConsultTerms, nowMs: number): PickRequest {
    const askMs = this.#decidesAlone(nowMs) ? REPLICA_ASK_MS : REPLICA_ASK_IDLE_MS;
    const isOld = this.ageMs(nowMs) >= askMs;
    return {
      ...pick,
      terms: encodeTerms(terms),
      ...(isOld ? { edge: this.#known(nowMs) } : {}),
      ...(this.#decidesAlone(nowMs)
        ? { credit: this.#credit.ask(nowMs, this.#calls.untoldTokens) }
        : {}),
    };
  }

  /** A call to the object took so long. */
  measured(ms: number, nowMs: number): void {
    this.#rtt.add(ms, nowMs);
  }

  /** The object has let a request through. `askedAtMs`: when it was asked. */
  granted(grant: HeldGrant, { request }: PickRequest, askedAtMs: number): void {
    const nowMs = Date.now();
    if (grant.credit !== undefined) this.#credit.granted(grant.credit, askedAtMs);
    if (grant.edge !== undefined) {
      const shown = this.#calls.shownNow();
      this.#apply(grant.edge, { nowMs, askedAtMs, shown });
    }
    const replica = this.#replica;
    if (replica === undefined || !this.#decidesAlone(nowMs)) return;
    const slot = replica.slotOfAddress(grant.endpoints[0] ?? "");
    if (slot === undefined) return;
    const { promptTokens } = request;
    const cachedTokens = replica.knownBlocks(request.keys, slot, nowMs) * CONTENT_BLOCK_TOKENS;
    const uncachedTokens = Math.max(0, promptTokens - cachedTokens);
    const tokens = uncachedTokens + reservedOutputTokens(request.outputTokensMax);
    const prompt = { promptTokens, uncachedTokens };
    if (grant.edge === undefined) replica.dispatched(slot, tokens, nowMs, prompt);
    replica.learn(request.keys, slot, nowMs);
  }

  /** Behind a request that the object was asked about: the next ones may be decided here. */
  renew(way: EdgeWay, nowMs: number): void {
    const replica = this.#replica;
    if (replica === undefined || !this.#decidesAlone(nowMs)) return;
    const wantsDigest = replica.known.digest === "";
    if (wantsDigest || replica.isToBeRenewed(nowMs)) this.#calls.begin(way, nowMs);
  }

  #firstTerms({ request }: PickRequest, way: DecidingWay, at: DecidingAt): ConsultTerms {
    const { nowMs, isAway } = at;
    const neededTokens = reservedOutputTokens(request.outputTokensMax);
    const terms = decideWhere({
      mode: this.#pool.config.decide,
      isLocalCapable: way.isConsulted !== true && this.#scheduling.isLocalCapable,
      isAway,
      rttMs: this.#rtt.rttMs(nowMs) ?? Infinity,
      snapshot: this.#factsAt(nowMs, isAway),
      credit: this.#credit.available(nowMs),
      neededTokens,
      priority: request.priority,
    });
    // What is refused counts as wanted.
    if (terms.reason === "no-credit")
      this.#credit.trySpend(request.promptTokens + neededTokens, nowMs);
    if (way.needsObject !== true || terms.where === "consult") return terms;
    return { ...terms, where: "consult", reason: "not-local" };
  }

  get #scheduling(): LocalPicker {
    return (this.#local ??= LocalPicker.for(this.#pool, undefined));
  }

  /** What was configured otherwise is as good as old; while the object is away it will do. */
  #factsAt(nowMs: number, isAway: boolean) {
    const facts = this.#replica?.facts(nowMs);
    if (facts === undefined || isAway) return facts;
    const isSame = this.#replica!.snapshot!.configVersion === this.#pool.configVersion;
    return isSame ? facts : { ...facts, ageMs: Infinity };
  }

  #pick(
    pick: PickRequest,
    way: DecidingWay,
    at: DecidingAt & { readonly terms: ConsultTerms },
  ): Grant | ConsultTerms {
    const { request, exclude } = pick;
    const { nowMs, isAway } = at;
    const replica = this.#replica!;
    const seed = (Math.random() * 2 ** 32) >>> 0;
    const picked = this.#scheduling.picker.pick(
      replica.pickInput(request, { nowMs, seed, ...(exclude.length > 0 ? { exclude } : {}) }),
    );
    if (!picked.ok) return { ...at.terms, where: "consult", reason: "full" };
    const slot = picked.slots[0]!;
    const terms = afterPick(at.terms, replica.missed(request, slot, nowMs));
    if (terms.where === "consult") return terms;
    const outputTokens = reservedOutputTokens(request.outputTokensMax);
    const cachedTokens = picked.matchedBlocks * CONTENT_BLOCK_TOKENS;
    const uncachedTokens = Math.max(0, request.promptTokens - cachedTokens);
    const reservedTokens = uncachedTokens + outputTokens;
    // While the object is away there is nobody to ask: what is over, relays bound.
    if (!isAway && !this.#credit.trySpend(reservedTokens, nowMs))
      return { ...terms, where: "consult", reason: "no-credit" };
    const claim = { slot, uncachedTokens, reservedTokens, outputTokens };
    return this.#grant(pick, picked, { way, nowMs, terms, claim });
  }

  #grant(pick: PickRequest, picked: Picked, granting: Granting): Grant {
    const { way, nowMs, terms, claim } = granting;
    const { request, attempt, flow } = pick;
    const { promptTokens, priority } = request;
    const { outputTokens, reservedTokens } = claim;
    const replica = this.#replica!;
    const number = this.#dispatched(pick, picked, granting);
    const tokens = { promptTokens, outputTokens, reservedTokens };
    const ticket = encodeTicketName(this.#epoch, ++this.#ticketCount, { ...tokens, priority });
    const endpoints = Array.from(picked.slots, (each) => replica.addressOf(each)!);
    const stages = stagesOf(picked, replica.directory);
    const commit: Omit<LocalCommit, "decidedAgoMs"> = {
      requestId: request.requestId,
      attempt,
      ticket,
      tenant: request.tenant,
      fairnessId: flow?.fairnessId ?? request.tenant,
      weight: flow?.weight ?? 1,
      model: request.model,
      priority,
      keys: request.keys,
      ...tokens,
      endpoints,
      ...prefillPart(stages, picked, promptTokens),
      terms,
    };
    this.#calls.commit({ commit, number, decidedAtMs: nowMs }, way);
    const { responseHeaders } = picked;
    const parts = {
      ticket,
      endpoints,
      terms,
      ...(stages === undefined ? {} : { stages }),
      ...(responseHeaders === undefined ? {} : { responseHeaders }),
      ...(replica.snapshot!.wantsContent === true ? { wantsContent: true as const } : {}),
    };
    return localGrant(parts, commit, (end) => {
      replica.released(number);
      this.#calls.end(end, way);
    });
  }

  /** Counts it in the replica, as the object's ledger will. Gives its number. */
  #dispatched({ request }: PickRequest, picked: Picked, { nowMs, claim }: Granting): number {
    const replica = this.#replica!;
    const { slot, reservedTokens, uncachedTokens } = claim;
    const { keys, promptTokens } = request;
    replica.learn(keys, slot, nowMs);
    const prefill = prefillOf(picked, promptTokens);
    if (prefill === undefined)
      return replica.dispatched(slot, reservedTokens, nowMs, { promptTokens, uncachedTokens });
    replica.learn(keys, prefill.slot, nowMs);
    const prompt = { promptTokens, uncachedTokens: prefill.uncachedTokens };
    replica.dispatched(prefill.slot, prefill.uncachedTokens, nowMs, prompt);
    return replica.dispatched(slot, reservedTokens, nowMs, NO_PROMPT);
  }

  /** Requests may be decided here, as far as the way to the object goes. */
  #decidesAlone(nowMs: number): boolean {
    const { decide } = this.#pool.config;
    if (decide === "consult" || !this.#scheduling.isLocalCapable) return false;
    return decide === "local" || (this.#rtt.rttMs(nowMs) ?? 0) >= NEAR_MS;
  }

  /** Without a digest where nothing is decided by it. */
  #known(nowMs: number) {
    const known = this.#replica?.known ?? { epoch: "", version: 0, digest: "", seed: this.#seed };
    if (this.#decidesAlone(nowMs)) return known;
    const { digest: _, ...others } = known;
    return others;
  }

  #synced(synced: EdgeSynced, { askedAtMs, shown }: { askedAtMs: number; shown: number }): void {
    const nowMs = Date.now();
    metrics.inc(METRIC.edgeSyncsTotal, { pool: this.#name, outcome: "answered" });
    this.#view.markBack();
    this.#rtt.add(nowMs - askedAtMs, nowMs);
    if (synced.credit !== undefined) this.#credit.granted(synced.credit, askedAtMs);
    if (synced.snapshot !== undefined) this.#apply(synced.snapshot, { nowMs, askedAtMs, shown });
    // It is not configured: what it was told of is nobody's.
    else this.#replica?.forget();
  }

  #syncFailed(error: unknown): void {
    const isUnknown = error instanceof Error && UNKNOWN_WORD.test(error.message);
    const outcome = isUnknown ? "unknown" : "failed";
    metrics.inc(METRIC.edgeSyncsTotal, { pool: this.#name, outcome });
    if (!isUnknown) return this.#view.markAway(Date.now());
    // An object of a release before has come, which learns from relays. The replica grows old, and then it decides.
    this.#calls.clear();
  }

  #apply(
    snapshot: EdgeSnapshot,
    { nowMs, askedAtMs, shown }: { nowMs: number; askedAtMs: number; shown: number },
  ): void {
    const rttMs = this.#rtt.rttMs(nowMs) ?? 0;
    const asOfMs = Math.max(askedAtMs, nowMs - rttMs / 2);
    this.#replica ??= new PoolReplica({ seed: this.#seed });
    const applied = this.#replica.apply(snapshot, { asOfMs, nowMs, shown });
    if (snapshot.summary !== undefined) knownPools.heard(snapshot.summary, nowMs);
    if (!applied.ok) return;
    for (const slot of applied.left) this.#local?.picker.onEndpointRemoved(slot);
  }

  #hasEndpoint(): boolean {
    const columns = this.#replica?.columns;
    if (columns === undefined) return false;
    for (let slot = 0; slot < columns.slotCount; slot++)
      if (columns.isPresent[slot] === 1) return true;
    return false;
  }
}

interface Granting {
  readonly way: EdgeWay;
  readonly nowMs: number;
  readonly terms: ConsultTerms;
  readonly claim: {
    readonly slot: number;
    readonly uncachedTokens: number;
    readonly reservedTokens: number;
    readonly outputTokens: number;
  };
}

const NO_PROMPT = { promptTokens: 0, uncachedTokens: 0 };
/** What the runtime says of a method that is not there. */
const UNKNOWN_WORD = /does not implement/;

function prefillPart(
  stages: readonly string[] | undefined,
  picked: Picked,
  promptTokens: number,
): Pick<LocalCommit, "prefill"> {
  const prefill = stages === undefined ? undefined : prefillOf(picked, promptTokens);
  const [prefillers = ""] = stages ?? [];
  if (prefill === undefined) return {};
  const { uncachedTokens } = prefill;
  return { prefill: { endpoints: prefillers.split(","), uncachedTokens } };
}
