// Chooses among pools, by the same framework as a pool chooses among its endpoints.
//
//   round 0: filters → scorers → picker over all allowed pools          the pools to try first
//   round 1: the same without those                                      … and after them
//   …        until there are POOLS_TRIED_MAX, or nobody is left
//
// Filters keep the best tier that has somebody, so a round is a tier, and failing over goes from tier to
// tier by the rules of the choice itself. Nearly always one round is enough. O(pools) a round.

import type { SchedulerConfig } from "../config/scheduler-config.ts";
import { EndpointPicker, type PickedHeader, type PickRecorder } from "../endpoint-picker.ts";
import type { InferenceRequest } from "../model/inference-request.ts";
import type { Dropped } from "../outcome.ts";
import type { NarrowingContext, ScoreTerms } from "../plugin.ts";
import type { ProfileRecorder } from "../profile.ts";
import { pluginOf } from "../registry.ts";
import {
  CHOICE_CANDIDATES_MAX,
  type LocalKnowledge,
  type PoolCandidate,
  type PoolChoice,
  type PoolChoiceRequest,
} from "./contracts.ts";
import { defaultRouting } from "./default-routing.ts";
import { stateOf } from "./pool-state.ts";
import type { PoolTable } from "./pool-table.ts";

/** Pools in one order; `retryPoolsMax` is no more. */
export const POOLS_TRIED_MAX = 8;

export interface PoolChooserOptions {
  /** As `routing.scheduler` says; absent: by cost. */
  readonly config?: SchedulerConfig | undefined;
  readonly table: PoolTable;
  readonly local: LocalKnowledge;
}

/** One an isolate and scheduler. Owns every buffer of a choice; holds about 100 kB. */
export class PoolChooser {
  readonly #picker: EndpointPicker;
  readonly #table: PoolTable;
  readonly #local: LocalKnowledge;
  readonly #recorder: CandidateRecorder;
  /** Headers that plugins read, in lower case: PoolChoiceRequest.headers has these and no others. */
  readonly requestHeaders: readonly string[];

  constructor({ config = defaultRouting(), table, local }: PoolChooserOptions) {
    this.#picker = new EndpointPicker(withAllPicked(config));
    this.#table = table;
    this.#local = local;
    this.#recorder = new CandidateRecorder(table);
    const headers = config.plugins.flatMap(
      ({ type, parameters }) => pluginOf(type).requestHeaders?.(parameters) ?? [],
    );
    this.requestHeaders = [...new Set(headers)];
  }

  /** Forgets what plugins learned of slots that PoolTable.set has freed. */
  onPoolsRemoved(slots: readonly number[]): void {
    for (const slot of slots) this.#picker.onEndpointRemoved(slot);
  }

  /**
   * Orders those of `pools` that may be tried, the best first: nobody, where filters leave out all. Drained ones are
   * never among them; whoever the table does not know comes last. `seed` decides every draw. The caller tells PoolTable.dispatched where
   * the request went.
   */
  // Hot path: proxy-3-pools in bench/. Allocates the answer, and a context for each round.
  choose(
    request: PoolChoiceRequest,
    pools: readonly string[],
    nowMs: number,
    seed: number,
  ): PoolChoice {
    const { renamed } = request;
    const allowed = this.#table.allow(pools, { local: this.#local, nowMs, renamed });
    const order: string[] = [];
    const headers: { name: string; values: string[] }[] = [];
    this.#table.facts.session = request.session;
    const asked = inferenceRequest(request);
    this.#recorder.begin();
    while (order.length < Math.min(POOLS_TRIED_MAX, allowed)) {
      const picked = this.#round(asked, nowMs, seed);
      if (!picked.ok || picked.slots.length === 0) break;
      this.#leaveOut(picked.slots, order);
      for (const [i, { name, values }] of (picked.responseHeaders ?? []).entries())
        (headers[i] ??= { name, values: [] }).values.push(...values);
    }
    for (const pool of pools) {
      if (order.length >= POOLS_TRIED_MAX) break;
      if (this.#table.slotOf(pool) === undefined && !order.includes(pool)) order.push(pool);
    }
    const candidates = this.#recorder.end(pools);
    return headers.length === 0
      ? { order, candidates }
      : { order, candidates, responseHeaders: padded(headers, order.length) };
  }

  #round(request: InferenceRequest, nowMs: number, seed: number) {
    const table = this.#table;
    const { staleAfterMs } = table.pools.policy;
    const input = {
      request,
      endpoints: table.columns,
      pool: table,
      prefixSources: { approximate: table.match },
      nowMs,
      staleAfterMs,
      seed,
      pools: table.pools,
    };
    const { tier } = this.#recorder;
    // Whoever learns from picks is told of the first choice, once.
    return this.#picker.pick(tier === 0 ? input : { ...input, sentTo: LOOKED_ON }, this.#recorder);
  }

  #leaveOut(slots: Int32Array, order: string[]): void {
    const { columns } = this.#table;
    for (const slot of slots) {
      columns.isPresent[slot] = 0;
      if (order.length < POOLS_TRIED_MAX) order.push(this.#table.endpoint(slot)!.id);
    }
    this.#recorder.tier += 1;
  }
}

const LOOKED_ON: Dropped = {
  ok: false,
  reason: "rejected-no-endpoints",
  detail: "a choice for the case that the first fails",
};

function inferenceRequest(request: PoolChoiceRequest): InferenceRequest {
  const { requestId, model, tenant, keys, promptTokens, outputTokensMax, headers } = request;
  const asked = {
    requestId,
    model,
    tenant,
    priority: 0,
    keys,
    promptTokens,
    outputTokensMax,
    bodyBytes: 0,
  };
  return headers === undefined ? asked : { ...asked, headers };
}

/** Pools are walked in order by the Worker: a picker that returns one would cost a round for each. */
function withAllPicked(config: SchedulerConfig): SchedulerConfig {
  const plugins = config.plugins.map((plugin) => {
    if (!pluginOf(plugin.type).kinds.includes("picker")) return plugin;
    const parameters = { ...plugin.parameters, maxNumOfEndpoints: POOLS_TRIED_MAX };
    return { ...plugin, parameters };
  });
  return { ...config, plugins };
}

/** Pools that no round has chosen have no value. */
function padded(headers: { name: string; values: string[] }[], length: number): PickedHeader[] {
  return headers.map(({ name, values }) => ({
    name,
    values: Array.from({ length }, (_, i) => values[i] ?? ""),
  }));
}

/** Writes down what each chosen pool was chosen by. */
class CandidateRecorder implements PickRecorder, ProfileRecorder {
  readonly #table: PoolTable;
  #candidates: PoolCandidate[] = [];
  #terms: ScoreTerms | undefined;
  tier = 0;

  constructor(table: PoolTable) {
    this.#table = table;
  }

  begin(): void {
    this.#candidates = [];
    this.#terms = undefined;
    this.tier = 0;
  }

  considered(): void {}
  screened(): void {}
  filtered(): void {}
  staged(): void {}

  began(): ProfileRecorder {
    this.#terms = undefined;
    return this;
  }

  scored(_context: NarrowingContext, _scores: Float64Array, terms?: ScoreTerms): void {
    this.#terms ??= terms;
  }

  picked(context: NarrowingContext, totals: Float64Array, slots: Int32Array): void {
    for (const slot of slots) {
      if (this.#candidates.length >= CHOICE_CANDIDATES_MAX) return;
      const at = context.candidates.indexOf(slot);
      this.#candidates.push(this.#candidate(context, slot, at, totals[at]!));
    }
  }

  /** With those that were left out, as far as there is room. */
  end(pools: readonly string[]): readonly PoolCandidate[] {
    const candidates = this.#candidates;
    for (const pool of pools) {
      if (candidates.length >= CHOICE_CANDIDATES_MAX) break;
      if (candidates.some((candidate) => candidate.pool === pool)) continue;
      const state = this.#stateOfLeftOut(pool);
      candidates.push({ pool, tier: this.tier, state, terms: {}, costMs: 0 });
    }
    return candidates;
  }

  #stateOfLeftOut(pool: string): string {
    const { pools } = this.#table;
    const slot = this.#table.slotOf(pool);
    if (slot === undefined) return "unknown";
    // There was room for it, so what was said against it is the filters' reason, which they alone know.
    return pools.isDrained[slot] === 1 ? "drained" : "filtered";
  }

  #candidate(context: NarrowingContext, slot: number, at: number, total: number): PoolCandidate {
    const { prefix, request } = context;
    const terms: Record<string, number> = {};
    let costMs = 0;
    if (this.#terms === undefined) terms["score"] = total;
    else {
      const { names, values } = this.#terms;
      for (let i = 0; i < names.length; i++) {
        const value = values[i]![at]!;
        terms[names[i]!] = value;
        costMs += value;
      }
    }
    const cached = prefix.matchedBlocks[slot]! * prefix.blockTokens;
    return {
      pool: this.#table.endpoint(slot)!.id,
      tier: this.tier,
      state: stateOf(this.#table.pools, slot),
      terms,
      costMs,
      uncachedTokens: Math.max(0, request.promptTokens - cached),
    };
  }
}
