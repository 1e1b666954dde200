// What has been sent to pools since they told their load, by this isolate and by all others.
//
//   credit' = own work + others' work − 1        in ms of the pool's time for each ms; told wait + credit ≥ 0
//
//   others' work = (ends a second − own requests a second) · work of one · p / usual p
//   p            = the pool's chance among those that come into question, by what a mean request costs there
//
// A pool works while it is sent work: only what comes faster than it goes adds to the wait, and what comes
// slower takes off it. An isolate knows its own requests exactly. Of the others it knows how many a pool ends,
// and that they look at the same summaries and go by the same costs: when a pool has become more attractive to
// this isolate than it usually is, so it has to those others that can use it. Nobody needs to send much to know
// that, or to ask anybody. A pool that everybody shares because of its place keeps its usual share.
//
//   sample sent ─────▶ heard ──▶ decision ──▶ decision ──▶ …     integrated from the sample's sending on,
//     └── own requests since stay counted ──┘                     in at most STEPS_MAX steps a decision
//
// A told wait is taken off for DRAIN_MS at most: a pool that is not heard of does not become idle by that.
//
// Source: Dynamo's assignments_since_sample, which knows one router's own requests only. Without the others,
// many edges that share two loaded pools all go to the one and then the other for as long as a summary is
// old: docs/decisions/042-choosing-a-pool.md has figures.

import { COST_DEFAULTS } from "./cost-defaults.ts";
import type { PoolFacts } from "./pool-facts.ts";

/** From a decision until the pool's object counts the request. */
const TRAVEL_MS = 100;
const BUCKET_MS = 64;
const BUCKETS = 16;
/** Own requests and chances of so long are what is usual: as long as a pool counts its ends. */
const USUAL_MS = 14_000;
/** Part of the chances that no cost moves: keeps p / usual p within bounds. */
const CHANCE_FLOOR = 0.05;
/** Share of the newest request in the mean of prompt tokens that were not cached. */
const TOKENS_SHARE = 0.05;
const CREDIT_MS_MAX = 60_000;
/** Of a summary's age. */
const DRAIN_MS = 1_500;
/** Time that is looked at again in one decision, and in how many steps over all pools. */
const LOOK_BACK_MS = 2_000;
const STEP_MS = 64;
const STEPS_MAX = 96;

/** Of `slots` pools. */
export class Credits {
  /** Own work that was sent lately, by the time of sending: what a sample may not have seen. */
  readonly #buckets: Float64Array;
  /** Number of the newest bucket, counted from the epoch. */
  readonly #newest: Float64Array;
  readonly #creditMs: Float64Array;
  readonly #sampledAtMs: Float64Array;
  /** Until when credit is reckoned. */
  readonly #untilMs: Float64Array;
  /** Own requests since the sample. */
  readonly #requests: Float64Array;
  /** Own requests of the last USUAL_MS, decayed to `#usualAtMs`. */
  readonly #usual: Float64Array;
  readonly #usualAtMs: Float64Array;
  readonly #usualChance: Float64Array;
  readonly #chanceAtMs: Float64Array;
  readonly #weights: Float64Array;
  #meanTokens = 0;

  constructor(slots: number) {
    this.#buckets = new Float64Array(slots * BUCKETS);
    this.#newest = new Float64Array(slots);
    this.#creditMs = new Float64Array(slots);
    this.#sampledAtMs = new Float64Array(slots).fill(-Infinity);
    this.#untilMs = new Float64Array(slots).fill(-Infinity);
    this.#requests = new Float64Array(slots);
    this.#usual = new Float64Array(slots);
    this.#usualAtMs = new Float64Array(slots);
    this.#usualChance = new Float64Array(slots).fill(-1);
    this.#chanceAtMs = new Float64Array(slots);
    this.#weights = new Float64Array(slots);
  }

  /** Own requests that no summary has shown. */
  requests(slot: number): number {
    return this.#requests[slot]!;
  }

  /** This isolate has sent a request: `workMs` of the whole pool's time, for `tokens` that are not cached. */
  add(slot: number, { workMs, tokens }: SentWork, nowMs: number): void {
    this.#advanceBuckets(slot, Math.floor(nowMs / BUCKET_MS));
    this.#buckets[this.#at(slot, this.#newest[slot]!)]! += workMs;
    this.#creditMs[slot] = Math.min(CREDIT_MS_MAX, this.#creditMs[slot]! + workMs);
    this.#requests[slot]! += 1;
    this.#usual[slot] = this.#usual[slot]! * decay(nowMs - this.#usualAtMs[slot]!) + 1;
    this.#usualAtMs[slot] = nowMs;
    const mean = this.#meanTokens;
    this.#meanTokens = mean === 0 ? tokens : mean + TOKENS_SHARE * (tokens - mean);
  }

  /** The pool has told its load as of `atMs`: what had reached it by then is in there. */
  told(slot: number, atMs: number): void {
    if (atMs <= this.#sampledAtMs[slot]!) return;
    this.#sampledAtMs[slot] = atMs;
    this.#untilMs[slot] = atMs;
    this.#creditMs[slot] = this.#sentSince(slot, atMs - TRAVEL_MS);
    // Requests are not counted by bucket: those that are kept are few, and count as one.
    this.#requests[slot] = this.#creditMs[slot]! > 0 ? 1 : 0;
  }

  /** Reckons up to now for the first `count` of `slots`, those of one decision, and writes `creditMs`. */
  // Hot path: proxy-3-pools in bench/. A few steps of a power for each pool, a hundred at most over all.
  advance(slots: Int32Array, count: number, facts: PoolFacts, nowMs: number): void {
    let behindMs = 0;
    for (let i = 0; i < count; i++) {
      const slot = slots[i]!;
      this.#untilMs[slot] = Math.max(this.#untilMs[slot]!, nowMs - LOOK_BACK_MS);
      behindMs = Math.max(behindMs, nowMs - this.#untilMs[slot]!);
    }
    const wanted = Math.ceil(behindMs / STEP_MS);
    const steps = Math.min(wanted, Math.max(1, Math.floor(STEPS_MAX / Math.max(1, count))));
    for (let step = steps; step > 0; step--) this.#step(slots, { count, step, nowMs }, facts);
    if (steps > 0) this.#learnChances(slots, count, nowMs);
    for (let i = 0; i < count; i++) {
      const slot = slots[i]!;
      facts.creditMs[slot] = this.#creditMs[slot]!;
    }
  }

  /** The slot is another pool's now. */
  clear(slot: number): void {
    this.#buckets.fill(0, slot * BUCKETS, (slot + 1) * BUCKETS);
    for (const column of [
      this.#newest,
      this.#creditMs,
      this.#requests,
      this.#usual,
      this.#usualAtMs,
    ])
      column[slot] = 0;
    for (const column of [this.#sampledAtMs, this.#untilMs]) column[slot] = -Infinity;
    this.#usualChance[slot] = -1;
  }

  /** `step` are left, this one included: each takes its part of the time that is behind. */
  #step(slots: Int32Array, { count, step, nowMs }: Step, facts: PoolFacts): void {
    const total = this.#weigh(slots, count, facts);
    for (let i = 0; i < count; i++) {
      const slot = slots[i]!;
      const partMs = (nowMs - this.#untilMs[slot]!) / step;
      if (partMs <= 0) continue;
      const untilMs = this.#untilMs[slot]! + partMs;
      this.#untilMs[slot] = untilMs;
      const chance = total > 0 ? this.#weights[slot]! / total : 0;
      const growth = this.#othersWork(slot, chance, facts, untilMs) - 1;
      const credit = this.#creditMs[slot]! + growth * partMs;
      const isYoung = untilMs - this.#sampledAtMs[slot]! <= DRAIN_MS;
      const least = isYoung ? -facts.waitMs[slot]! : Math.min(0, this.#creditMs[slot]!);
      this.#creditMs[slot] = Math.min(CREDIT_MS_MAX, Math.max(least, credit));
    }
  }

  /** Chances are taken into what is usual by the time that has passed since the last decision. */
  #learnChances(slots: Int32Array, count: number, nowMs: number): void {
    let total = 0;
    for (let i = 0; i < count; i++) total += this.#weights[slots[i]!]!;
    for (let i = 0; i < count; i++) {
      const slot = slots[i]!;
      const chance = total > 0 ? this.#weights[slot]! / total : 0;
      const usual = this.#usualChance[slot]!;
      const share = Math.min(1, Math.max(0, nowMs - this.#chanceAtMs[slot]!) / USUAL_MS);
      this.#usualChance[slot] = usual < 0 ? chance : usual + share * (chance - usual);
      this.#chanceAtMs[slot] = nowMs;
    }
  }

  /** Fills the weights of pools that a request would be sent to; gives their sum. */
  #weigh(slots: Int32Array, count: number, facts: PoolFacts): number {
    const { scaleMs, roundTrips, sharpness } = COST_DEFAULTS;
    let tier = Infinity;
    for (let i = 0; i < count; i++) {
      const slot = slots[i]!;
      if (facts.isIn[slot] === 1) tier = Math.min(tier, facts.failoverTier[slot]!);
    }
    let total = 0;
    for (let i = 0; i < count; i++) {
      const slot = slots[i]!;
      let weight = 0;
      if (facts.isIn[slot] === 1 && facts.failoverTier[slot] === tier) {
        const wait = Math.max(0, facts.waitMs[slot]! + this.#creditMs[slot]!);
        const prefill = this.#meanTokens * facts.prefillMsPerToken[slot]!;
        const cost = roundTrips * facts.rttMs[slot]! + wait + prefill + facts.extraMs[slot]!;
        const capacity = facts.usable[slot]! * facts.admission[slot]!;
        weight = capacity * (scaleMs / (scaleMs + cost)) ** sharpness;
      }
      this.#weights[slot] = weight;
      total += weight;
    }
    return total;
  }

  /** Share of the pool's time that the others' requests take, while `chance` is the pool's. */
  #othersWork(slot: number, chance: number, facts: PoolFacts, atMs: number): number {
    const own = this.#usual[slot]! * decay(atMs - this.#usualAtMs[slot]!) * (1_000 / USUAL_MS);
    const others = facts.endedPerSecond[slot]! - own;
    if (others <= 0) return 0;
    const usual = this.#usualChance[slot]!;
    const surge = usual < 0 ? 1 : (chance + CHANCE_FLOOR) / (usual + CHANCE_FLOOR);
    const workMs = (this.#meanTokens * facts.prefillMsPerToken[slot]!) / facts.usable[slot]!;
    return (others / 1_000) * workMs * surge;
  }

  #sentSince(slot: number, atMs: number): number {
    const first = Math.floor(atMs / BUCKET_MS);
    const newest = this.#newest[slot]!;
    let sum = 0;
    for (let bucket = newest - BUCKETS + 1; bucket <= newest; bucket++)
      if (bucket >= first) sum += this.#buckets[this.#at(slot, bucket)]!;
    return sum;
  }

  /** Makes `bucket` the newest. A clock that went back counts into the newest there is. */
  #advanceBuckets(slot: number, bucket: number): void {
    const newest = this.#newest[slot]!;
    if (bucket <= newest) return;
    for (let next = Math.max(newest + 1, bucket - BUCKETS + 1); next <= bucket; next++)
      this.#buckets[this.#at(slot, next)] = 0;
    this.#newest[slot] = bucket;
  }

  #at(slot: number, bucket: number): number {
    return slot * BUCKETS + (((bucket % BUCKETS) + BUCKETS) % BUCKETS);
  }
}

interface SentWork {
  readonly workMs: number;
  readonly tokens: number;
}

interface Step {
  readonly count: number;
  readonly step: number;
  readonly nowMs: number;
}

function decay(sinceMs: number): number {
  return Math.exp(-Math.max(0, sinceMs) / USUAL_MS);
}
