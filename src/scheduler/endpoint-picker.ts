// Runs a pool's scheduling profiles and returns the endpoints to try, in order.

import { SCHEDULER_LIMITS } from "./config/limits.ts";
import { resolveProfile } from "./config/resolve.ts";
import type { SchedulerConfig } from "./config/scheduler-config.ts";
import type { CacheSource, PrefixMatch } from "./data/data.ts";
import { nextBest } from "./disaggregation/next-best.ts";
import { Data, NO_MATCH, NOBODY, Results } from "./decision-state.ts";
import type { EndpointColumns } from "./model/endpoint-columns.ts";
import { ENDPOINTS_MAX } from "./model/endpoint-table.ts";
import type { InferenceRequest } from "./model/inference-request.ts";
import type { Dropped } from "./outcome.ts";
import type {
  EndpointDirectory,
  PrefixSources,
  ProfileResults,
  ResponseHeader,
  SchedulingStages,
  NarrowingContext,
} from "./plugin.ts";
import type { OnPluginFailed } from "./plugin-calls.ts";
import { Plugins, type PluginSubstitution } from "./plugins.ts";
import { type ProfileRecorder, SchedulingProfile } from "./profile.ts";
import type { PoolColumns } from "./pools/pool-columns.ts";
import { isForAdapter, keepsUsable, ranksByLoad } from "./sparing.ts";
import { createSubset } from "./subset.ts";
import { createRng } from "./support/rng.ts";

/** What a pick looks at. */
export interface PickInput {
  readonly request: InferenceRequest;
  readonly endpoints: EndpointColumns;
  readonly pool: EndpointDirectory;
  readonly prefixSources: PrefixSources;
  readonly nowMs: number;
  readonly staleAfterMs: number;
  /** Seeds every draw: the same input and seed give the same choice. */
  readonly seed: number;
  /** Where slots are pools; see PickContext. */
  readonly pools?: PoolColumns | undefined;
  /** Slots that failed for this request already. */
  readonly exclude?: readonly (number | undefined)[];
  /**
   * By slot, 1: it is left to other isolates, or to the pool's other objects. A profile chooses among the rest of
   * those that its filters let pass, as long as there are any, and names the spared behind them, to fall back on. For a
   * picker at the edge, one that takes an isolate's proposal, and one of several; only where it `maySpare`.
   */
  readonly spared?: Uint8Array | undefined;
  /**
   * What was decided of the request elsewhere, whatever is chosen here: plugins that learn from picks
   * are told of it in the place of the choice, with the results of the profiles that ran there. For a
   * picker whose choice is only looked at.
   */
  readonly sentTo?: Picked | Dropped;
}

export interface Picked {
  readonly ok: true;
  /** Slots in the order to try. A view into the picker's buffer, as all here: valid until the next pick. */
  readonly slots: Int32Array;
  /** Choices of the other stages, where they ran and found somebody. */
  readonly prefill?: Int32Array;
  readonly encode?: Int32Array;
  /** Who may prefill where the choice fails; where there is another one. */
  readonly prefillNext?: number;
  /** Blocks of the request that prefill[0] holds. */
  readonly prefillMatchedBlocks?: number;
  /** Whose KV blocks the one that computes the prompt may copy; where that saves anything. */
  readonly kvSource?: number;
  /** What every profile chose. */
  readonly results: ProfileResults;
  /** See SchedulingStages. */
  readonly dataParallelPort?: number;
  /** Headers for the client's answer; absent where no plugin sets one. */
  readonly responseHeaders?: readonly PickedHeader[];
  /** Blocks of the request that slots[0] holds, of `totalBlocks`. */
  readonly matchedBlocks: number;
  readonly totalBlocks: number;
}

export interface PickedHeader {
  readonly name: string;
  /** One for each of `slots`: that of the one which serves is told. "": nothing is. */
  readonly values: readonly string[];
}

/** Sees a whole decision: who was considered, what each plugin said, who was chosen. */
export interface PickRecorder {
  /** First call: all that may be chosen, before any plugin, and who of them is spared; see PickInput. */
  considered(context: NarrowingContext, spared?: Uint8Array): void;
  /** After each screener, in order: `keep[i]` is 0 for those of the considered that are out by now. */
  screened(keep: Uint8Array): void;
  /** A profile begins to run over all that were considered; gives who watches it. */
  began(context: NarrowingContext): ProfileRecorder;
  /** The profile's last call: totals after scoring and the choice, which is empty where nobody passed. */
  picked(context: NarrowingContext, totals: Float64Array, slots: Int32Array): void;
  /** Last call, where endpoints can be named: what the profiles' choices are used for. */
  staged(stages: SchedulingStages): void;
}

/** Endpoints of a choice among few, with the spared ones behind them. */
const FALL_BACK_ON = 4;

/** Endpoints of one choice. */
export const DESTINATIONS_MAX = 8;

interface RunnableProfile {
  readonly profile: SchedulingProfile;
  readonly slots: Int32Array;
  /** The best that was not chosen in the last run; -1 where there was none, or nobody asks for it. */
  next: number;
  /** Its picker draws numbers of its own, whatever was drawn before: records and replays rely on it. */
  readonly salt: number;
}

/** One per pool. Owns every buffer of a decision; holds about 50 kB. */
export class EndpointPicker {
  readonly #plugins: Plugins;
  readonly #profiles = new Map<string, RunnableProfile>();
  /** Candidates of every profile. */
  readonly #eligible = new Int32Array(ENDPOINTS_MAX);
  readonly #candidates = new Int32Array(ENDPOINTS_MAX);
  /** The spared of a run. */
  readonly #aside = new Int32Array(ENDPOINTS_MAX);
  readonly #keep = new Uint8Array(ENDPOINTS_MAX);
  readonly #keptBefore = new Uint8Array(ENDPOINTS_MAX);
  readonly #totals = new Float64Array(ENDPOINTS_MAX);
  readonly #scores = new Float64Array(ENDPOINTS_MAX);
  readonly #results = new Results();
  readonly #data: Data;
  readonly #ranksByLoad: boolean;
  /** Its filters leave whoever can be sent requests; see PluginDefinition. */
  readonly keepsUsable: boolean;
  #seed = 0;
  #spared: Uint8Array | undefined;
  readonly #responseHeaders: readonly ResponseHeader[];
  /** Refilled by its producer, which has its last word after the choice. */
  readonly #cacheSource: CacheSource | undefined;

  /** `onFailed` is told of each plugin that throws; plugin-calls.ts says what comes of it. */
  constructor(
    config: SchedulerConfig,
    substitution?: PluginSubstitution,
    onFailed?: OnPluginFailed,
  ) {
    this.#plugins = new Plugins(config, substitution, onFailed);
    this.#data = new Data(this.#plugins);
    for (const [i, { name }] of config.schedulingProfiles.entries()) {
      const profile = new SchedulingProfile(resolveProfile(config, name), this.#plugins);
      const salt = Math.imul(i + 1, 0x9e3779b9);
      this.#profiles.set(name, {
        profile,
        slots: new Int32Array(DESTINATIONS_MAX),
        next: -1,
        salt,
      });
    }
    this.#ranksByLoad = ranksByLoad(config);
    this.keepsUsable = keepsUsable(config);
    this.#cacheSource = this.#plugins.producers
      .map(({ plugin }) => plugin.data["cache-source"])
      .find((source) => source !== undefined);
    this.#responseHeaders = [...this.#plugins.all()].flatMap(
      ({ responseHeaders = [] }) => responseHeaders,
    );
  }

  /** Whether it makes no difference to the configuration who of several endpoints without load gets the request. O(endpoints). */
  maySpare({ endpoints, request }: Pick<PickInput, "endpoints" | "request">): boolean {
    return this.#ranksByLoad && !isForAdapter(endpoints, request.model);
  }

  get profileCount(): number {
    return this.#profiles.size;
  }

  /** The configuration's instances, for who asks them outside of decisions: flow control. */
  get plugins(): Pick<Plugins, "get" | "handler"> {
    return this.#plugins;
  }

  /**
   * Chooses. Plugins that learn from picks are told at once, so ask only when the choice will be
   * granted: who has no room refuses before.
   */
  // Hot path: pick-64 and pick-1000 in bench/. Allocates a context, the result and the handler's stages.
  pick(input: PickInput, recorder?: PickRecorder): Picked | Dropped {
    const context = this.#begin(input);
    if (context.candidateCount === 0) return drop("rejected-no-endpoints", NO_ENDPOINTS);
    recorder?.considered(context, input.spared);
    this.#screen(context, recorder);
    const outcome = this.#decide(context, recorder);
    const sent = input.sentTo ?? outcome;
    if (sent.ok) this.#tellPicked(context, sent);
    const kvSource = this.#cacheSource?.slot ?? -1;
    return outcome.ok && kvSource >= 0 ? { ...outcome, kvSource } : outcome;
  }

  #tellPicked(context: NarrowingContext, { results, slots }: Picked): void {
    const { calls, pickListeners } = this.#plugins;
    const slot = slots[0];
    if (slot === undefined) return;
    // Those of another picker, where this one's choice is only looked at.
    context.results = results;
    calls.tell(pickListeners, (plugin) => plugin.onPicked!(context, slot));
  }

  /** Forgets a slot that is about to be reused. */
  onEndpointRemoved(slot: number): void {
    const { calls, removalListeners } = this.#plugins;
    calls.tell(removalListeners, (plugin) => plugin.onEndpointRemoved!(slot));
  }

  /** Forgets what an engine held that has started anew. */
  onEndpointRestarted(slot: number): void {
    const { calls, restartListeners } = this.#plugins;
    calls.tell(restartListeners, (plugin) => plugin.onEndpointRestarted!(slot));
  }

  #begin(input: PickInput): NarrowingContext {
    const { endpoints, exclude, pool, request } = input;
    const subset = request.subset === undefined ? undefined : createSubset(request.subset);
    const candidates = this.#candidates;
    let count = 0;
    for (let slot = 0; slot < endpoints.slotCount; slot++) {
      if (endpoints.isPresent[slot] !== 1) continue;
      if (exclude !== undefined && exclude.includes(slot)) continue;
      if (subset !== undefined && !subset(pool.endpoint(slot)!)) continue;
      candidates[count++] = slot;
    }
    this.#results.clear();
    this.#data.clear();
    this.#seed = input.seed;
    this.#spared = input.spared;
    this.#plugins.calls.begin(input.seed);
    return {
      request,
      endpoints,
      pool,
      prefix: this.#plugins.get(this.#plugins.prefixProducer).data!["prefix-match"] as PrefixMatch,
      prefixSources: input.prefixSources,
      data: this.#data,
      profile: "",
      results: this.#results,
      candidates,
      candidateCount: count,
      nowMs: input.nowMs,
      staleAfterMs: input.staleAfterMs,
      rng: this.#plugins.calls.rng,
      pools: input.pools,
    };
  }

  /** Of those that the screeners left, whose number is 0 at worst. */
  #decide(context: NarrowingContext, recorder?: PickRecorder): Picked | Dropped {
    const eligibleCount = context.candidateCount;
    this.#produce(context);
    if (eligibleCount === 0) return drop("rejected-no-endpoints", ALL_SCREENED);
    const denial = this.#admit(context);
    if (denial !== undefined) return drop("rejected-saturated", denial);
    this.#runProfiles(context, eligibleCount, recorder);
    const { calls, handler } = this.#plugins;
    calls.enter(handler);
    const stages = handler.plugin.finish(context);
    if (typeof stages === "string") return drop("rejected-saturated", stages);
    recorder?.staged(stages);
    return this.#result(context, stages);
  }

  #produce(context: NarrowingContext): void {
    const { calls, prefixProducer, producers } = this.#plugins;
    for (const producer of producers) {
      calls.enter(producer);
      try {
        producer.plugin.produce(context);
      } catch (error) {
        calls.failed(producer, error);
        this.#data.fail(producer.name);
        if (producer.name === prefixProducer) context.prefix = NO_MATCH;
      }
    }
  }

  #admit(context: NarrowingContext): string | undefined {
    const { admitters, calls } = this.#plugins;
    for (const admitter of admitters) {
      calls.enter(admitter);
      try {
        const denial = admitter.plugin.admit(context);
        if (denial !== undefined) return denial;
      } catch (error) {
        calls.failed(admitter, error);
      }
    }
    return undefined;
  }

  #screen(context: NarrowingContext, recorder?: PickRecorder): void {
    const { calls, screeners } = this.#plugins;
    const { candidates, candidateCount } = context;
    if (screeners.length > 0) {
      const keep = this.#keep.fill(1, 0, candidateCount);
      for (const screener of screeners) {
        this.#keptBefore.set(keep);
        calls.enter(screener);
        try {
          screener.plugin.screen(context, keep);
        } catch (error) {
          calls.failed(screener, error);
          keep.set(this.#keptBefore);
        }
        recorder?.screened(keep);
      }
      let kept = 0;
      for (let i = 0; i < candidateCount; i++) {
        if (keep[i] === 1) candidates[kept++] = candidates[i]!;
      }
      context.candidateCount = kept;
    }
    this.#eligible.set(candidates.subarray(0, context.candidateCount));
  }

  #runProfiles(context: NarrowingContext, eligibleCount: number, recorder?: PickRecorder): void {
    const { calls, handler } = this.#plugins;
    for (let runs = 0; runs < SCHEDULER_LIMITS.profilesMax; runs++) {
      calls.enter(handler);
      const name = handler.plugin.next(context);
      const runnable = name === undefined ? undefined : this.#profiles.get(name);
      if (name === undefined || runnable === undefined) break;
      context.profile = name;
      this.#run(context, runnable, recorder);
      context.profile = "";
      context.candidates.set(this.#eligible.subarray(0, eligibleCount));
      context.candidateCount = eligibleCount;
    }
  }

  #run(context: NarrowingContext, runnable: RunnableProfile, recorder?: PickRecorder): void {
    const { profile, slots, salt } = runnable;
    const { calls } = this.#plugins;
    const watcher = recorder?.began(context);
    let chosen = slots.subarray(0, 0);
    const all = this.#eligible.subarray(0, context.candidateCount);
    runnable.next = -1;
    calls.begin(this.#seed ^ salt);
    if (profile.filter(context, all, watcher) > 0) {
      const spared = this.#setAside(context);
      profile.score(context, this.#totals, this.#scores, watcher);
      const count = profile.pick(context, this.#totals, createRng(this.#seed ^ salt), slots);
      const isMoreWanted = count === context.candidateCount;
      chosen = this.#withSpared(slots, count, isMoreWanted ? spared : 0);
      if (this.#profiles.size > 1) runnable.next = nextBest(context, this.#totals, chosen);
    }
    calls.begin(this.#seed);
    recorder?.picked(context, this.#totals, chosen);
    this.#results.add(profile.name, chosen);
  }

  /** Takes the spared out of the candidates, unless that leaves none. Gives how many these are. */
  #setAside(context: NarrowingContext): number {
    const spared = this.#spared;
    if (spared === undefined) return 0;
    const { candidates, candidateCount } = context;
    let [kept, aside] = [0, 0];
    for (let i = 0; i < candidateCount; i++) {
      const slot = candidates[i]!;
      if (spared[slot] === 1) this.#aside[aside++] = slot;
      else candidates[kept++] = slot;
    }
    if (kept === 0) {
      candidates.set(this.#aside.subarray(0, aside));
      return 0;
    }
    context.candidateCount = kept;
    return aside;
  }

  /** Those chosen, and behind them, where all that were not spared are, some of the `aside`, beginning anywhere. */
  #withSpared(slots: Int32Array, chosenCount: number, aside: number): Int32Array {
    if (chosenCount === 0 || aside === 0) return slots.subarray(0, chosenCount);
    const count = Math.max(chosenCount, Math.min(FALL_BACK_ON, chosenCount + aside));
    for (let i = chosenCount; i < count; i++)
      slots[i] = this.#aside[((this.#seed >>> 0) + i) % aside]!;
    return slots.subarray(0, count);
  }

  #result(context: NarrowingContext, stages: SchedulingStages): Picked {
    const slots = this.#results.slotsOf(stages.primary);
    const first = slots[0]!;
    const prefill = stages.prefill === undefined ? NOBODY : this.#results.slotsOf(stages.prefill);
    const encode = stages.encode === undefined ? NOBODY : this.#results.slotsOf(stages.encode);
    const { dataParallelPort } = stages;
    const prefillNext = this.#prefillNext(stages.prefill, first);
    return {
      ok: true,
      slots,
      results: this.#results,
      matchedBlocks: context.prefix.matchedBlocks[first]!,
      totalBlocks: context.prefix.totalBlocks,
      ...(prefill.length === 0
        ? {}
        : { prefill, prefillMatchedBlocks: context.prefix.matchedBlocks[prefill[0]!]! }),
      ...(encode.length === 0 ? {} : { encode }),
      ...(prefillNext < 0 ? {} : { prefillNext }),
      ...(dataParallelPort === undefined ? {} : { dataParallelPort }),
      ...this.#headers(context, stages.primary, slots),
    };
  }

  /** Nobody hands over to himself, so the decode endpoint is none. */
  #prefillNext(profile: string | undefined, decodeSlot: number): number {
    if (profile === undefined) return -1;
    const [, second = this.#profiles.get(profile)!.next] = this.#results.slotsOf(profile);
    return second === decodeSlot ? -1 : second;
  }

  #headers(
    { pool, results }: NarrowingContext,
    primary: string,
    slots: Int32Array,
  ): Pick<Picked, "responseHeaders"> {
    if (this.#responseHeaders.length === 0) return {};
    const responseHeaders = this.#responseHeaders.map((header) => {
      const { name, profile } = header;
      const isOfDestination = profile === null || profile === primary;
      const stage = isOfDestination ? undefined : (results.slotOf(profile) ?? -1);
      const values = Array.from(slots, (slot) => {
        const endpoint = pool.endpoint(stage ?? slot);
        return endpoint === undefined ? "" : header.valueOf(endpoint);
      });
      return { name, values };
    });
    return { responseHeaders };
  }
}

const NO_ENDPOINTS = "the pool has no endpoint that may be picked";
const ALL_SCREENED = "the pool's screeners left no endpoint";

function drop(reason: Dropped["reason"], detail: string): Dropped {
  return { ok: false, reason, detail };
}
