// An isolate's copy of a pool: what an EndpointPicker needs to decide as the pool's object would.
//
//   columns = rows of the snapshots + own dispatches that they do not show yet
//
// The copy is an EndpointTable, and dispatches count in it by the same arithmetic as in the object's. A snapshot
// takes every endpoint back to its row, and counts again what it does not show.
//
// Rows say how things are and not what has changed, so a delta may be applied to any version between its base
// and itself, twice, or after a later one was refused. What does not fit is refused as a value: then `known`
// says what is there, and the object's next answer fits, or is whole.

import type { EndpointPicker, Picked, PickInput, PickRecorder } from "../endpoint-picker.ts";
import { isFresh } from "../freshness.ts";
import type { EndpointColumns } from "../model/endpoint-columns.ts";
import { EndpointTable, ENDPOINTS_MAX, type PromptWork } from "../model/endpoint-table.ts";
import type { InferenceRequest } from "../model/inference-request.ts";
import { CONTENT_BLOCK_TOKENS } from "../kv/content-keys.ts";
import type { Dropped } from "../outcome.ts";
import type { EndpointDirectory, PrefixSources } from "../plugin.ts";
import {
  type Missed,
  SNAPSHOT_RENEW_MS,
  type SnapshotFacts,
  unseenLoadMs,
} from "./consult-rule.ts";
import type { EdgeKnown, EdgeSnapshot } from "./contracts.ts";
import { type OwnDispatch, OwnDispatches } from "./own-dispatches.ts";
import { OwnRate } from "./own-rate.ts";
import { ReplicaKnowledge } from "./replica-knowledge.ts";
import { type EdgeRow, restoreColumns, restoreFacts, unpackRows } from "./rows.ts";
import { UnseenDispatches } from "./unseen-dispatches.ts";

export interface ReplicaOptions {
  /** Random, of the isolate. */
  readonly seed: number;
}

/** How a snapshot has come to be here. */
export interface SnapshotAt {
  /** Our clock's best guess at the object's moment of sending; ages count from there. */
  readonly asOfMs: number;
  readonly nowMs: number;
  /** The last of our own dispatches that the object had been told of by then; see `dispatched`. */
  readonly shown: number;
}

export type Applied =
  | {
      readonly ok: true;
      /** Slots whose endpoint has left, or is another one: pickers are told. */
      readonly left: readonly number[];
    }
  /**
   * `older`: nothing is lost. Else the next answer brings a whole one: `known` asks for it.
   */
  | { readonly ok: false; readonly reason: "older" | "wrong-base" | "other-epoch" | "malformed" };

/** A decision's moment, the seed of its draws, and the addresses that failed for its request. */
export interface PickAt {
  readonly nowMs: number;
  readonly seed: number;
  readonly exclude?: readonly string[];
}

const UNKNOWN: EdgeKnown = { epoch: "", version: 0, digest: "" };

export class PoolReplica {
  readonly #seed: number;
  readonly #table = new EndpointTable();
  /** By slot: what the last snapshot that named it said, and as of when. */
  readonly #rows: (EdgeRow | undefined)[] = [];
  readonly #asOfMs = new Float64Array(ENDPOINTS_MAX);
  readonly #own = new OwnDispatches();
  readonly #ownRate = new OwnRate();
  readonly #unseen = new UnseenDispatches();
  readonly #matched = new Int32Array(ENDPOINTS_MAX);
  readonly #spared = new Uint8Array(ENDPOINTS_MAX);
  readonly #knowledge = new ReplicaKnowledge();
  #known = UNKNOWN;
  /** Without its bytes. */
  #snapshot: EdgeSnapshot | undefined;
  #snapshotAtMs = -Infinity;
  #nowMs = -Infinity;
  /** What plugins ask who holds what. */
  readonly prefixSources: PrefixSources = {
    approximate: (keys, matchedBlocks) =>
      this.#knowledge.match(keys, matchedBlocks, this.#slotsAt(this.#nowMs)),
  };

  constructor({ seed }: ReplicaOptions) {
    this.#seed = seed;
  }

  /** What to ask the object with. */
  get known(): EdgeKnown {
    return { ...this.#known, digest: this.#knowledge.version, seed: this.#seed };
  }

  /** The last snapshot's facts, without its rows and digest; undefined before the first. */
  get snapshot(): EdgeSnapshot | undefined {
    return this.#snapshot;
  }

  get columns(): EndpointColumns {
    return this.#table.columns;
  }

  get directory(): EndpointDirectory {
    return this.#table;
  }

  slotOfAddress(address: string): number | undefined {
    return this.#table.slotOfAddress(address);
  }

  addressOf(slot: number): string | undefined {
    return this.#table.endpoint(slot)?.address;
  }

  /** About: what does not grow, digest and prefixes. */
  get byteLength(): number {
    const { digest, recent } = this.#knowledge;
    return FIXED_BYTES + (digest?.byteLength ?? 0) + recent.byteLength;
  }

  /** What the rule goes by. */
  facts(nowMs: number): SnapshotFacts | undefined {
    if (this.#snapshot === undefined) return undefined;
    const { saturation, waiting, isHeld } = this.#snapshot;
    return { ageMs: this.#ageMs(nowMs), saturation, waiting, isHeld };
  }

  /** Whether it is time to ask for a newer one, beside requests. */
  isToBeRenewed(nowMs: number): boolean {
    return this.#snapshot === undefined || this.#ageMs(nowMs) >= SNAPSHOT_RENEW_MS;
  }

  /** Nothing that is known holds any more: the pool is another one. */
  forget(): void {
    for (const slot of this.#table.slots()) this.#remove(slot);
    this.#known = UNKNOWN;
    this.#snapshot = undefined;
    this.#snapshotAtMs = -Infinity;
    this.#knowledge.forgetDigest();
  }

  apply(snapshot: EdgeSnapshot, at: SnapshotAt): Applied {
    const refusal = this.#refusalOf(snapshot);
    const { names = [] } = snapshot;
    const rows = refusal === undefined ? unpackRows({ rows: snapshot.rows, names }) : undefined;
    if (rows === undefined) {
      if (refusal !== "older") this.#known = UNKNOWN;
      return { ok: false, reason: refusal ?? "malformed" };
    }
    const left = this.#takeEndpoints(snapshot);
    for (const row of rows) this.#takeRow(row, at.asOfMs);
    if (snapshot.digest !== undefined) this.#knowledge.take(snapshot.digest);
    const { epoch, version } = snapshot;
    this.#known = { epoch, version };
    const { digest: _, ...facts } = snapshot;
    this.#snapshot = { ...facts, rows: NO_BYTES };
    this.#snapshotAtMs = at.asOfMs;
    this.#recount(at);
    return { ok: true, left };
  }

  /**
   * Decides as the pool's object would. Only after a first snapshot. `picker` has the pool's configuration; what it
   * gives is valid until its next pick.
   */
  pick(
    picker: EndpointPicker,
    request: InferenceRequest,
    at: PickAt,
    recorder?: PickRecorder,
  ): Picked | Dropped {
    const input = this.pickInput(request, at);
    const match = (): Int32Array => {
      this.prefixSources.approximate(request.keys, this.#matched);
      return this.#matched;
    };
    const { nowMs, staleAfterMs } = input;
    const view = { columns: this.#table.columns, nowMs, staleAfterMs };
    const isAnySpared =
      picker.maySpare(input) && this.#unseen.spare(view, match, at.seed, this.#spared);
    return picker.pick(isAnySpared ? { ...input, spared: this.#spared } : input, recorder);
  }

  /** What there is to decide on, as it was at the snapshot but for own dispatches. */
  pickInput(request: InferenceRequest, { nowMs, seed, exclude }: PickAt): PickInput {
    this.#nowMs = nowMs;
    return {
      request,
      endpoints: this.#table.columns,
      pool: this.#table,
      prefixSources: this.prefixSources,
      nowMs,
      staleAfterMs: this.#staleAfterMs(nowMs),
      seed,
      ...(exclude === undefined
        ? {}
        : { exclude: exclude.map((address) => this.#table.slotOfAddress(address)) }),
    };
  }

  /** What the pick of `slot` may have missed, for the rule's second step. */
  missed(
    request: Pick<InferenceRequest, "keys" | "promptTokens">,
    slot: number,
    nowMs: number,
  ): Missed {
    const at = { ...this.#slotsAt(nowMs), leftOut: this.#snapshot?.leftOut ?? 0 };
    const { known, possible } = this.#knowledge.missed(request.keys, slot, at);
    const prefillMsPerToken = this.#table.columns.prefillMsPerToken[slot]!;
    const knownTokens = known * CONTENT_BLOCK_TOKENS;
    const { uncachedTokens = 0, aheadTokens = uncachedTokens } = this.#snapshot?.rate ?? {};
    const loadMs = unseenLoadMs({
      othersPerS: this.#unseen.othersPerS,
      ageMs: this.#ageMs(nowMs),
      workMs: uncachedTokens * prefillMsPerToken,
      aheadMs: aheadTokens * prefillMsPerToken,
      endpoints: this.#freshCount(nowMs),
    });
    const ownTokens = Math.max(0, request.promptTokens - knownTokens);
    const uncachedShare = ownTokens / Math.max(1, request.promptTokens);
    return {
      knownTokens,
      possibleTokens: possible * CONTENT_BLOCK_TOKENS,
      prefillMsPerToken,
      loadMs: uncachedShare * loadMs,
      ownMs: ownTokens * prefillMsPerToken,
    };
  }

  /** No endpoint of the pool held more of the prompt at the snapshot's moment, those left out included. */
  possibleBlocks(keys: Uint32Array, nowMs: number): number {
    const at = { ...this.#slotsAt(nowMs), leftOut: this.#snapshot?.leftOut ?? 0 };
    return this.#knowledge.possibleBlocks(keys, at);
  }

  /** Of the endpoint, in blocks, as the last look-up of this prompt has it. */
  knownBlocks(keys: Uint32Array, slot: number, nowMs: number): number {
    return this.#knowledge.missed(keys, slot, { ...this.#slotsAt(nowMs), leftOut: 0 }).known;
  }

  /**
   * Counts a request that this isolate sends, as EndpointTable.dispatched does, until a snapshot shows it. Gives its
   * number: see SnapshotAt.
   */
  dispatched(slot: number, tokens: number, nowMs: number, prompt: PromptWork): number {
    this.#table.dispatched(slot, tokens, nowMs, prompt);
    this.#ownRate.count(nowMs);
    return this.#own.add({ slot, tokens, prompt, atMs: nowMs });
  }

  /**
   * Counts a request that the object is asked about where this isolate would have sent it, until it is `answered`.
   * Gives its number.
   */
  proposed(slot: number, tokens: number, nowMs: number, prompt: PromptWork): number {
    this.#table.dispatched(slot, tokens, nowMs, prompt);
    return this.#own.add({ slot, tokens, prompt, atMs: nowMs, isProposed: true });
  }

  /** What was `proposed` so is decided, or waits: nothing of it is on its way there by that. */
  answered(number: number): void {
    const own = this.#own.take(number);
    if (own === undefined) return;
    this.#restore(own.slot);
    for (const dispatch of this.#own.all())
      if (dispatch.slot === own.slot) this.#countAgain(dispatch);
  }

  /** The number of the last dispatch. */
  get lastDispatch(): number {
    return this.#own.last;
  }

  /** It has ended. One that a snapshot shows ends with a snapshot. */
  released(number: number): void {
    const own = this.#own.take(number);
    if (own !== undefined) this.#table.released(own.slot, own.tokens, own.atMs);
  }

  /** A prompt was sent there, by this isolate's choice or by the object's. */
  learn(keys: Uint32Array, slot: number, nowMs: number): void {
    this.#knowledge.learn(keys, slot, nowMs);
  }

  #slotsAt(nowMs: number) {
    const { slotCount, isPresent } = this.#table.columns;
    return { slotCount, isPresent, nowMs };
  }

  #ageMs(nowMs: number): number {
    return Math.max(0, nowMs - this.#snapshotAtMs);
  }

  /** Of samples: endpoints are as fresh as the object found them. How old that is, the rule looks at. */
  #staleAfterMs(nowMs: number): number {
    return this.#snapshot === undefined ? 0 : this.#snapshot.staleAfterMs + this.#ageMs(nowMs);
  }

  #freshCount(nowMs: number): number {
    const staleAfterMs = this.#staleAfterMs(nowMs);
    const context = { endpoints: this.#table.columns, nowMs, staleAfterMs };
    let fresh = 0;
    for (const slot of this.#table.slots()) if (isFresh(context, slot)) fresh += 1;
    return fresh;
  }

  #refusalOf({ epoch, version, base }: EdgeSnapshot) {
    const known = this.#known;
    const isSame = epoch === known.epoch;
    if (isSame && version < known.version) return "older";
    if (base === null) return undefined;
    if (!isSame) return "other-epoch";
    return base > known.version ? "wrong-base" : undefined;
  }

  /** Gives the slots that are not what they were. */
  #takeEndpoints({ base, endpoints, removed }: EdgeSnapshot): number[] {
    const left = new Set(removed);
    if (base === null) {
      const named = new Set(endpoints.map(({ slot }) => slot));
      for (const slot of this.#table.slots()) if (!named.has(slot)) left.add(slot);
    }
    // An address or a name may have moved from one slot to another: first all are taken away.
    const others = endpoints.filter(({ slot, id }) => this.#table.endpoint(slot)?.id !== id);
    for (const { slot } of others) if (this.#table.endpoint(slot) !== undefined) left.add(slot);
    const gone = [...left].filter((slot) => this.#table.endpoint(slot) !== undefined);
    for (const slot of gone) this.#remove(slot);
    for (const { slot } of endpoints) this.#table.remove(slot);
    for (const { slot, ...endpoint } of endpoints) {
      if (slot >= 0 && slot < ENDPOINTS_MAX) this.#table.place(slot, endpoint);
    }
    return gone;
  }

  #remove(slot: number): void {
    this.#table.remove(slot);
    this.#rows[slot] = undefined;
    this.#own.forget(slot);
    this.#knowledge.forgetSlot(slot);
  }

  #takeRow(row: EdgeRow, asOfMs: number): void {
    const { slot } = row;
    if (this.#table.endpoint(slot) === undefined) return;
    const cameAtMs = this.#table.columns.cameAtMs[slot]!;
    const isKnown = this.#rows[slot] !== undefined;
    this.#rows[slot] = row;
    this.#asOfMs[slot] = asOfMs;
    restoreFacts(this.#table, row);
    restoreColumns(this.#table, row, asOfMs);
    // Its engine has started anew: what was sent there before is not there.
    const isRestarted = this.#table.columns.cameAtMs[slot]! > cameAtMs + RESTART_TOLERANCE_MS;
    if (isKnown && isRestarted) this.#knowledge.forgetSlot(slot);
  }

  /** As its row says. */
  #restore(slot: number): void {
    const row = this.#rows[slot];
    if (row !== undefined) restoreColumns(this.#table, row, this.#asOfMs[slot]!);
  }

  #countAgain({ slot, tokens, atMs, prompt }: OwnDispatch): void {
    this.#table.dispatchedBefore(slot, tokens, atMs, prompt);
  }

  /** Every endpoint as its row says, and on top what rows do not show. */
  #recount({ asOfMs, nowMs, shown }: SnapshotAt): void {
    for (const slot of this.#table.slots()) this.#restore(slot);
    this.#own.shown(shown, nowMs);
    for (const dispatch of this.#own.all()) this.#countAgain(dispatch);
    const ownPerS = this.#ownRate.perS(nowMs);
    this.#unseen.begin(this.#snapshot!, asOfMs, ownPerS);
  }
}

/** Of the table and the buffers by slot. */
const FIXED_BYTES = 200_000;
const NO_BYTES = new Uint8Array(0);
/** Clocks drift; engines do not start anew in so little time. */
const RESTART_TOLERANCE_MS = 1_000;
