// One pool as one isolate decides on it alone: what it has of the pool's object, a scheduler, and the tickets that
// it gives.

import { EDGE_EPOCH_PREFIX, encodeTicketName } from "../../agents/protocol/ticket-name.ts";
import type { HeldGrant, KeptPick, PickRequest } from "../../durable/contract.ts";
import { encodeTerms } from "../../scheduler/decisions/decided-where.ts";
import { type PickedPrefill, stagesOf } from "../../scheduler/disaggregation/pick-stages.ts";
import { NEAR_MS, SNAPSHOT_SERVES_AWAY_MS } from "../../scheduler/edge/consult-rule.ts";
import type { ConsultTerms, LocalCommit } from "../../scheduler/edge/contracts.ts";
import type { PoolReplica } from "../../scheduler/edge/pool-replica.ts";
import { randomHex } from "../crypto.ts";
import type { Pool } from "../directory-index.ts";
import type { Grant } from "../upstream/pool-picks.ts";
import { countLoad, grantedLoad, learnPrompt } from "./carried-load.ts";
import type { EdgeWay } from "./edge-calls.ts";
import { chooseHere, type Chosen, type ToAsk } from "./local-choice.ts";
import { localGrant } from "./local-grant.ts";
import { LocalPicker } from "./local-picker.ts";
import { LocalRecords } from "./local-records.ts";
import { ObjectLink, type ObjectLinkOptions } from "./object-link.ts";
import { SentMeanwhile } from "./sent-meanwhile.ts";

export interface EdgePoolOptions extends Pick<ObjectLinkOptions, "address" | "view" | "seed"> {
  readonly pool: Pool;
}

/** A request's way to decide. */
export interface DecidingWay extends EdgeWay {
  /** Only what the object grants will do. */
  readonly needsObject?: boolean | undefined;
  /** The object decides while it answers. */
  readonly isConsulted?: boolean | undefined;
}

export interface DecidingAt {
  readonly nowMs: number;
  /** The object does not answer. */
  readonly isAway: boolean;
}

/** A request that is on its way, and that the object is to be asked about meanwhile. */
export interface AskingMeanwhile {
  readonly terms: ConsultTerms;
  readonly meanwhile: SentMeanwhile;
}

/** A request that the object is to be asked about. */
export interface Asking {
  readonly terms: ConsultTerms;
  readonly proposal?: Proposal;
}

/** Where this isolate would have sent it; counted there until the object has answered, if only that it waits. */
interface Proposal {
  readonly address: string;
  /** Of the dispatch. */
  readonly number: number;
}

export class EdgePool {
  readonly #name: string;
  readonly #epoch = EDGE_EPOCH_PREFIX + randomHex(7);
  readonly #link: ObjectLink;
  readonly #records = new LocalRecords();
  #pool: Pool;
  #local: LocalPicker | undefined;
  #ticketCount = 0;
  /** Unix ms of the last request. */
  usedAtMs = 0;

  constructor({ pool, ...options }: EdgePoolOptions) {
    this.#name = pool.config.name;
    this.#pool = pool;
    this.#link = new ObjectLink({
      ...options,
      pool: this.#name,
      epoch: this.#epoch,
      records: this.#records,
      decidesAlone: (nowMs) => this.#decidesAlone(nowMs),
      endpointLeft: (slot) => this.#local?.picker.onEndpointRemoved(slot),
    });
  }

  /** The pool's. */
  get name(): string {
    return this.#name;
  }

  /** As the request's directory has it. */
  configure(pool: Pool): void {
    if (pool === this.#pool) return;
    this.#pool = pool;
    if (this.#local !== undefined) this.#local = LocalPicker.for(pool, this.#local);
  }

  get link(): Pick<ObjectLink, "rttMs" | "measured" | "facts" | "credit"> {
    return this.#link;
  }

  /** Of its replica, about. */
  get byteLength(): number {
    return this.#link.replica?.byteLength ?? 0;
  }

  /** Whether requests can be served while the object is away. */
  canServe(nowMs: number): boolean {
    const ageMs = this.#link.facts(nowMs)?.ageMs ?? Infinity;
    return ageMs <= SNAPSHOT_SERVES_AWAY_MS && this.knowsOther("");
  }

  /** Whether the pool has, as far as is known, an endpoint beside this one. */
  knowsOther(address: string): boolean {
    const { replica } = this.#link;
    const { slotCount = 0, isPresent } = replica?.columns ?? {};
    for (let slot = 0; slot < slotCount; slot++)
      if (isPresent![slot] === 1 && replica!.addressOf(slot) !== address) return true;
    return false;
  }

  /** A grant of this isolate's own; or why the object is to be asked. */
  // Hot path.
  decide(pick: PickRequest, way: DecidingWay, at: DecidingAt): Grant | AskingMeanwhile | Asking {
    const chosen = this.#choose(pick, way, at);
    const { nowMs } = at;
    if (!("picked" in chosen)) return this.#propose(pick, chosen, nowMs);
    const by = { way, nowMs };
    if (chosen.terms.reason !== "asked-meanwhile") return this.#grant(pick, chosen, by);
    return { terms: chosen.terms, meanwhile: this.#send(pick, chosen, by) };
  }

  /** The same pick as the object is to be asked for it. */
  asking(
    pick: PickRequest,
    { terms, proposal }: Asking,
    { isConsulted = false }: Pick<DecidingWay, "isConsulted">,
    nowMs: number,
  ): PickRequest {
    return {
      ...pick,
      terms: encodeTerms(terms),
      ...(proposal === undefined ? {} : { proposed: proposal.address }),
      ...this.#link.asked(nowMs, isConsulted),
    };
  }

  /** And of one that is on its way, as `attempt`: the number of the one that it will be if the object would have it elsewhere. */
  askingMeanwhile(
    { exclude, request }: PickRequest,
    { terms, meanwhile }: AskingMeanwhile,
    attempt: number,
    nowMs: number,
  ): PickRequest {
    const why: ConsultTerms = { ...terms, where: "consult", reason: "stale" };
    const asked = this.#link.asked(nowMs, false);
    const sent = meanwhile.asked();
    return { request, attempt, exclude, terms: encodeTerms(why), sent, ...asked };
  }

  /** The object has committed it where it was sent. */
  kept({ meanwhile }: AskingMeanwhile, answer: KeptPick, askedAtMs: number): void {
    const nowMs = Date.now();
    this.#link.granted(answer, askedAtMs, nowMs);
    meanwhile.kept(answer.edge !== undefined, nowMs);
  }

  /** The object has answered, or will not: what was proposed counts no more. Said again it changes nothing. */
  answered({ proposal }: Asking): void {
    if (proposal !== undefined) this.#link.replica?.answered(proposal.number);
  }

  /** Behind a request that the object was asked about: the next ones may be decided here. */
  renew(way: DecidingWay, nowMs: number): void {
    if (way.isConsulted !== true) this.#link.renew(way, nowMs);
  }

  /** The object has let a request through. `askedAtMs`: when it was asked. */
  granted(grant: HeldGrant, { request }: PickRequest, askedAtMs: number): void {
    const nowMs = Date.now();
    this.#link.granted(grant, askedAtMs, nowMs);
    const { replica } = this.#link;
    if (replica === undefined || !this.#decidesAlone(nowMs)) return;
    const load = grantedLoad(replica, request, grant, nowMs);
    if (load === undefined) return;
    // A snapshot that came with it shows it.
    if (grant.edge === undefined) countLoad(replica, request, load, nowMs);
    learnPrompt(replica, request, load, nowMs);
  }

  #propose({ request }: PickRequest, { terms, claim }: ToAsk, nowMs: number): Asking {
    const { replica } = this.#link;
    const address = claim && replica?.addressOf(claim.slot);
    if (claim === undefined || replica === undefined || address === undefined) return { terms };
    const { slot, reservedTokens, uncachedTokens } = claim;
    const prompt = { promptTokens: request.promptTokens, uncachedTokens };
    const number = replica.proposed(slot, reservedTokens, nowMs, prompt);
    return { terms, proposal: { address, number } };
  }

  #choose(pick: PickRequest, way: DecidingWay, at: DecidingAt): Chosen | ToAsk {
    const { nowMs, isAway } = at;
    const link = this.#link;
    const { isLocalCapable, picker, scheduler } = this.#scheduling;
    // Where only the object will do, its being away makes no difference.
    const needsObject = way.needsObject === true;
    return chooseHere(pick, {
      mode: this.#pool.config.decide,
      isLocalCapable:
        isLocalCapable && !this.#hasUpstreams && way.isConsulted !== true && !needsObject,
      isAway: isAway && !needsObject,
      rttMs: link.rttMs(nowMs) ?? Infinity,
      snapshot: this.#factsAt(at),
      replica: link.replica,
      credit: link.credit,
      picker,
      scheduler,
      configVersion: this.#pool.configVersion,
      records: this.#records,
      nowMs,
    });
  }

  /**
   * What schedules otherwise is as good as old; while the object is away it will do. The rest of the configuration
   * may differ: it changes with every pool's.
   */
  #factsAt({ nowMs, isAway }: DecidingAt) {
    const facts = this.#link.facts(nowMs);
    if (facts === undefined || isAway) return facts;
    const { configVersion, schedulerHash } = this.#link.replica!.snapshot!;
    const isSame =
      configVersion === this.#pool.configVersion ||
      schedulerHash === this.#scheduling.schedulerHash;
    return isSame ? facts : { ...facts, ageMs: Infinity };
  }

  #grant(pick: PickRequest, chosen: Chosen, { way, nowMs }: GrantedBy): Grant {
    const replica = this.#link.replica!;
    const { calls } = this.#link;
    learnPrompt(replica, pick.request, chosen, nowMs);
    const number = countLoad(replica, pick.request, chosen, nowMs);
    const { commit, parts } = this.#ticketOf(pick, chosen);
    calls.commit({ commit, number, decidedAtMs: nowMs }, way);
    return localGrant(parts, pick.attempt, (end) => {
      replica.released(number);
      calls.end(end, way);
    });
  }

  #send(pick: PickRequest, chosen: Chosen, { way, nowMs }: GrantedBy): SentMeanwhile {
    const replica = this.#link.replica!;
    const { calls } = this.#link;
    learnPrompt(replica, pick.request, chosen, nowMs);
    const ticket = this.#ticketOf(pick, chosen);
    return new SentMeanwhile({ pick, load: chosen, ...ticket, replica, calls, way, nowMs });
  }

  #ticketOf(pick: PickRequest, chosen: Chosen) {
    const replica = this.#link.replica!;
    const { picked, terms } = chosen;
    const { responseHeaders } = picked;
    const stages = stagesOf(picked, replica.directory);
    const commit = this.#commitOf(pick, chosen, stages);
    const { ticket, endpoints } = commit;
    const parts = {
      ticket,
      endpoints,
      terms,
      ...(stages === undefined ? {} : { stages }),
      ...(responseHeaders === undefined ? {} : { responseHeaders }),
      ...(replica.snapshot!.wantsContent === true ? { wantsContent: true as const } : {}),
    };
    return { commit, parts };
  }

  #commitOf(
    { request, attempt, flow }: PickRequest,
    { picked, terms, outputTokens, reservedTokens, prefill }: Chosen,
    stages: readonly string[] | undefined,
  ): Omit<LocalCommit, "decidedAgoMs"> {
    const { requestId, tenant, model, priority, keys, promptTokens } = request;
    const replica = this.#link.replica!;
    const facts = { promptTokens, outputTokens, reservedTokens, priority };
    return {
      requestId,
      attempt,
      ticket: encodeTicketName(this.#epoch, ++this.#ticketCount, facts),
      tenant,
      fairnessId: flow?.fairnessId ?? tenant,
      weight: flow?.weight ?? 1,
      model,
      keys,
      endpoints: addressesOf(picked.slots, replica),
      terms,
      ...facts,
      ...prefillPart(stages, prefill),
    };
  }

  /** An upstream's end is settled by this Worker, and must not wait for a batch. */
  get #hasUpstreams(): boolean {
    return this.#pool.config.upstreams.length > 0;
  }

  get #scheduling(): LocalPicker {
    return (this.#local ??= LocalPicker.for(this.#pool, undefined));
  }

  /** Requests may be decided here, as far as the pool and the way to its object go. */
  #decidesAlone(nowMs: number): boolean {
    const { decide } = this.#pool.config;
    const isCapable = this.#scheduling.isLocalCapable && !this.#hasUpstreams;
    if (decide === "consult" || !isCapable) return false;
    return decide === "local" || (this.#link.rttMs(nowMs) ?? 0) >= NEAR_MS;
  }
}

interface GrantedBy {
  readonly way: EdgeWay;
  readonly nowMs: number;
}

// Array.from takes ten times as long.
function addressesOf(slots: Int32Array, replica: PoolReplica): string[] {
  const addresses: string[] = [];
  for (const slot of slots) addresses.push(replica.addressOf(slot)!);
  return addresses;
}

function prefillPart(
  stages: readonly string[] | undefined,
  prefill: PickedPrefill | undefined,
): Pick<LocalCommit, "prefill"> {
  if (prefill === undefined || stages === undefined) return {};
  const { uncachedTokens } = prefill;
  return { prefill: { endpoints: stages[0]!.split(","), uncachedTokens } };
}
