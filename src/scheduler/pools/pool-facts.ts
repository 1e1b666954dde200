// The owner's side of PoolColumns: what is configured and what summaries tell, by slot.

import { UNLEARNED } from "../model/engine-speeds.ts";
import type { SessionAffinity } from "./affinity.ts";
import { POOLS_MAX } from "./bounds.ts";
import type { PoolDescription, RenamedModel } from "./contracts.ts";
import type { PoolColumns, RoutingPolicy } from "./pool-columns.ts";
import { hashOfName } from "./rendezvous.ts";
import { type PoolSummary, SUMMARY_NAMES_MAX } from "./summary.ts";

/** A pool is full from saturation 1, and is not any more below this: at the border it must not change each second. */
const FULL_UNTIL = 0.95;

/** Written by its owner, a PoolTable. */
export class PoolFacts implements PoolColumns {
  policy: RoutingPolicy;
  session: SessionAffinity | undefined = undefined;
  readonly failoverTier = new Uint8Array(POOLS_MAX);
  readonly isDrained = new Uint8Array(POOLS_MAX);
  readonly extraMs = new Float64Array(POOLS_MAX);
  readonly inputMsPer1kTokens = new Float64Array(POOLS_MAX);
  readonly outputMsPer1kTokens = new Float64Array(POOLS_MAX);
  readonly nameHash = new Uint32Array(POOLS_MAX);
  readonly breaker = new Uint8Array(POOLS_MAX);
  readonly isOverloaded = new Uint8Array(POOLS_MAX);
  readonly freshness = new Uint8Array(POOLS_MAX);
  readonly rttMs = new Float64Array(POOLS_MAX);
  readonly admission = new Float64Array(POOLS_MAX);
  readonly loadAgeMs = new Float64Array(POOLS_MAX);
  readonly usable = new Float64Array(POOLS_MAX);
  readonly isEmpty = new Uint8Array(POOLS_MAX);
  readonly isFull = new Uint8Array(POOLS_MAX);
  readonly waitMs = new Float64Array(POOLS_MAX);
  readonly creditMs = new Float64Array(POOLS_MAX);
  readonly kvUsage = new Float64Array(POOLS_MAX);
  readonly kvCapacityTokens = new Float64Array(POOLS_MAX);
  readonly prefillMsPerToken = new Float64Array(POOLS_MAX);
  readonly serviceMs = new Float64Array(POOLS_MAX);
  readonly endedPerSecond = new Float64Array(POOLS_MAX);
  /** 1: the pool has told its speed. */
  readonly hasSpeed = new Uint8Array(POOLS_MAX);
  /** 1: nothing speaks against it that would be a tier of its own; see ServiceRecord. */
  readonly isIn = new Uint8Array(POOLS_MAX);
  readonly listed: (ListedNames | undefined)[] = [];
  /** Of the request at hand, where a pool's engines know its model by another name. */
  readonly renamed: (RenamedModel | undefined)[] = [];

  constructor(policy: RoutingPolicy) {
    this.policy = policy;
  }

  lists(slot: number, model: string): boolean | undefined {
    const names = this.listed[slot];
    return names === undefined ? undefined : names.all.has(this.renamed[slot]?.model ?? model);
  }
}

/** Models and adapters that engines list, as they were told, and for looking up. */
interface ListedNames {
  readonly models: readonly string[];
  readonly adapters: readonly string[];
  readonly all: ReadonlySet<string>;
}

export function fillConfigured(facts: PoolFacts, slot: number, pool: PoolDescription): void {
  facts.failoverTier[slot] = pool.failoverTier;
  facts.isDrained[slot] = pool.isDrained ? 1 : 0;
  facts.extraMs[slot] = pool.extraMs;
  facts.inputMsPer1kTokens[slot] = pool.inputMsPer1kTokens;
  facts.outputMsPer1kTokens[slot] = pool.outputMsPer1kTokens;
  facts.nameHash[slot] = hashOfName(pool.name);
}

/** Loads and members count no more. */
export function forgetTold(facts: PoolFacts, slot: number): void {
  facts.usable[slot] = 1;
  facts.isEmpty[slot] = 0;
  facts.isFull[slot] = 0;
  facts.waitMs[slot] = 0;
  facts.kvUsage[slot] = 1;
  facts.kvCapacityTokens[slot] = 0;
  facts.endedPerSecond[slot] = 0;
  facts.listed[slot] = undefined;
}

/** Takes over what a summary tells; what it is silent of stays. */
export function takeTold(facts: PoolFacts, slot: number, summary: PoolSummary): void {
  const { load, membership, speed } = summary;
  if (membership !== undefined) {
    facts.usable[slot] = Math.max(1, membership.usable);
    facts.isEmpty[slot] = membership.usable === 0 ? 1 : 0;
    facts.listed[slot] = listedNames(facts.listed[slot], membership);
  }
  if (load !== undefined) {
    const isFull = load.saturation >= (facts.isFull[slot] === 1 ? FULL_UNTIL : 1);
    facts.isFull[slot] = isFull ? 1 : 0;
    facts.waitMs[slot] = Math.max(0, load.waitMs);
    facts.kvUsage[slot] = Math.min(1, Math.max(0, load.kvUsage));
    facts.kvCapacityTokens[slot] = load.kvCapacityTokens;
  }
  if (speed !== undefined) {
    const { prefillMsPerToken, serviceMs } = speed;
    if (prefillMsPerToken !== undefined) {
      facts.hasSpeed[slot] = 1;
      facts.prefillMsPerToken[slot] = prefillMsPerToken;
    }
    if (serviceMs !== undefined) facts.serviceMs[slot] = serviceMs;
    facts.endedPerSecond[slot] = speed.endedPerSecond;
  }
}

/** Nothing is told of engines that list nothing, or more than a summary has room for. */
function listedNames(
  before: ListedNames | undefined,
  {
    models,
    adapters,
  }: { readonly models: readonly string[]; readonly adapters: readonly string[] },
): ListedNames | undefined {
  if (models.length === 0 || models.length >= SUMMARY_NAMES_MAX) return undefined;
  if (adapters.length >= SUMMARY_NAMES_MAX) return undefined;
  // Every second the same names are told again.
  if (before !== undefined && isSame(before.models, models) && isSame(before.adapters, adapters))
    return before;
  return { models, adapters, all: new Set([...models, ...adapters]) };
}

function isSame(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((name, i) => name === b[i]);
}

/** A pool that has told no speed counts as the slowest that has, so that nobody is better for not telling. */
export function levelSpeeds(facts: PoolFacts, slotCount: number): void {
  let slowest: number = UNLEARNED.prefillMsPerToken;
  for (let slot = 0; slot < slotCount; slot++) {
    if (facts.hasSpeed[slot] === 1) slowest = Math.max(slowest, facts.prefillMsPerToken[slot]!);
  }
  for (let slot = 0; slot < slotCount; slot++) {
    if (facts.hasSpeed[slot] === 0) facts.prefillMsPerToken[slot] = slowest;
  }
}
