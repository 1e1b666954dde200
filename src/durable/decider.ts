// Decisions of one pool, and what is kept of them: the configuration in force, the shadow that looks on,
// and the records that `explain` shows.

import type { SchedulerConfig } from "../scheduler/config/scheduler-config.ts";
import { schedulerHash } from "../scheduler/config/scheduler-hash.ts";
import { DecidedWhere } from "../scheduler/decisions/decided-where.ts";
import { LocalDecisions } from "../scheduler/decisions/local-decisions.ts";
import { PoolChoices } from "../scheduler/decisions/pool-choices.ts";
import type { DecisionRecord, DecisionResult, QueueFacts } from "../scheduler/decisions/record.ts";
import { DecisionRecorder } from "../scheduler/decisions/recorder.ts";
import { createNumbers, DecisionRing } from "../scheduler/decisions/ring.ts";
import { PROPOSED_SLACK, sentSlack, type Slack } from "../scheduler/edge/proposed-endpoint.ts";
import type { EndpointPicker, PickInput } from "../scheduler/endpoint-picker.ts";
import type { InferenceRequest } from "../scheduler/model/inference-request.ts";
import type { Dropped } from "../scheduler/outcome.ts";
import { capacityRuleOf } from "../scheduler/plugins/data-producer/approx-prefix-cache-producer.ts";
import type { Clock } from "../scheduler/support/clock.ts";
import type { MetricRegistry } from "../telemetry/metrics.ts";
import type { BuiltConfig } from "./built-config.ts";
import { takePage } from "./decision-page.ts";
import { Proposals } from "./edge/proposals.ts";
import type { Endpoints } from "./endpoints.ts";
import type { ResidentKnowledge } from "./kv/resident-knowledge.ts";
import type { PrefixMemory } from "./prefix/memory.ts";
import type { PoolShards } from "./shards/pool-shards.ts";
import { Shadow } from "./shadow.ts";
import type { DecisionQuery, ShadowState } from "./state.ts";

/** Addresses a retry may exclude; later ones are not looked at. */
export const EXCLUDE_MAX = 64;
/** Time from a scrape to the object that still counts as prompt. */
const ONE_WAY_MS = 1_000;
/** Scrapes that may be missed before a sample is stale. */
const SCRAPES_MISSED_MAX = 3;

export interface DeciderOptions {
  readonly clock: Clock;
  /** A fresh seed for each decision, kept in its record. */
  readonly seed: () => number;
  readonly endpoints: Endpoints;
  readonly prefixes: PrefixMemory;
  readonly resident: ResidentKnowledge;
  readonly registry: MetricRegistry;
  /** The object as one of the pool's. */
  readonly shards: Pick<PoolShards, "lane">;
}

interface DecidedAt {
  readonly exclude: readonly string[];
  readonly nowMs: number;
  /** Of the decision's draws; undefined: any. */
  readonly seed?: number | undefined;
}

/** Nobody is told of a choice that is only looked at. */
const NOT_SENT: Dropped = { ok: false, reason: "rejected-no-endpoints", detail: "not asked for" };

export class Decider {
  readonly #options: DeciderOptions;
  readonly #numbers = createNumbers();
  readonly #decisions = new DecisionRing(undefined, this.#numbers);
  readonly #recorder = new DecisionRecorder(this.#decisions);
  readonly #poolChoices = new PoolChoices();
  readonly #proposals = new Proposals();
  /** At the edge or here, and why. */
  readonly where = new DecidedWhere();
  /** Decisions of isolates, as far as they have told of them. */
  readonly local = new LocalDecisions(this.#numbers);
  #picker: EndpointPicker | undefined;
  /** Configuration of #picker: one object while it does not change. */
  #scheduler: SchedulerConfig | undefined;
  #schedulerHash: string | undefined;
  #shadow: Shadow | undefined;
  /** Configuration of #shadow. */
  #shadowScheduler: SchedulerConfig | undefined;
  #configVersion = 0;
  #staleAfterMs = ONE_WAY_MS;

  constructor(options: DeciderOptions) {
    this.#options = options;
  }

  /** A sample older than this is stale: its endpoint ranks behind every fresh one. */
  get staleAfterMs(): number {
    return this.#staleAfterMs;
  }

  get configVersion(): number {
    return this.#configVersion;
  }

  /** undefined while the pool is not configured. */
  get picker(): EndpointPicker | undefined {
    return this.#picker;
  }

  /** Of the picker. */
  get scheduler(): SchedulerConfig | undefined {
    return this.#scheduler;
  }

  /** Of it, for isolates that decide alone. */
  get schedulerHash(): string | undefined {
    return this.#schedulerHash;
  }

  /** undefined without a shadow configuration. */
  get shadow(): ShadowState | undefined {
    return this.#shadow?.state;
  }

  /** Puts a configuration in force. */
  configure({ stored: { version, config }, picker, scrapeIntervalMs }: BuiltConfig): void {
    this.#configVersion = version;
    const scheduler = config?.scheduler;
    if (JSON.stringify(scheduler) !== JSON.stringify(this.#scheduler)) {
      // Only then: a new picker's scorers have forgotten what they learned.
      this.#scheduler = scheduler;
      this.#schedulerHash = scheduler && schedulerHash(scheduler);
      this.#picker = picker;
      if (scheduler !== undefined) {
        this.#options.prefixes.setCapacityRule(capacityRuleOf(scheduler));
        this.#options.resident.configure(scheduler);
      }
    }
    this.#configureShadow(config?.shadowScheduler);
    this.#staleAfterMs = SCRAPES_MISSED_MAX * scrapeIntervalMs + ONE_WAY_MS;
  }

  /** To be asked only while there is a picker. */
  decide(
    request: InferenceRequest,
    at: DecidedAt & {
      readonly attempt: number;
      /** As PickRequest has it. */
      readonly proposed: string | undefined;
      /** It has been sent where it is not well, by all endpoints: its new place is one of all. */
      readonly isMoved?: boolean | undefined;
      readonly queue: QueueFacts | undefined;
    },
  ): ReturnType<EndpointPicker["pick"]> {
    const { endpoints } = this.#options;
    const facts = this.#factsOf(request, at);
    const { seed } = facts;
    const spared =
      this.#sparedFor(at.proposed, PROPOSED_SLACK, facts) ?? this.#sparedForLane(at, facts);
    const input = { ...facts, spared };
    const outcome = this.#picker!.pick(input, this.#recorder);
    // What an isolate proposed follows the configuration in force; an object's lane is any configuration's.
    const shadow = this.#shadow?.observe(facts, outcome, (picker) =>
      this.#sparedForLane({ ...at, picker }, facts),
    );
    const { attempt, queue } = at;
    const { exclude } = input;
    const scheduler = this.#scheduler!;
    const configVersion = this.#configVersion;
    this.#recorder.finish(endpoints.table, {
      attempt,
      configVersion,
      scheduler,
      seed,
      exclude,
      queue,
      kvSource: outcome.ok ? outcome.kvSource : undefined,
      ...(outcome.ok ? {} : { dropped: { reason: outcome.reason, detail: outcome.detail } }),
      ...(shadow === undefined ? {} : { shadow }),
    });
    return outcome;
  }

  /**
   * Whether a request that an isolate has sent to `address` is as well there, or so nearly that it is not worth moving: it costs
   * another `rttMs`, and what was computed by then. To be asked only while there is a picker, which learns nothing by it.
   */
  isWellAt(
    request: InferenceRequest,
    at: DecidedAt & { readonly address: string; readonly rttMs: number },
  ): boolean {
    const { address, rttMs } = at;
    const slot = this.#options.endpoints.slotOfAddress(address);
    const facts = this.#factsOf(request, at);
    const spared = this.#sparedFor(address, sentSlack(rttMs), facts);
    const outcome = this.#picker!.pick({ ...facts, spared, sentTo: NOT_SENT });
    return !outcome.ok || outcome.slots[0] === slot;
  }

  #factsOf(request: InferenceRequest, { nowMs, exclude, seed = this.#options.seed() }: DecidedAt) {
    const { endpoints, resident } = this.#options;
    return {
      request,
      endpoints: endpoints.table.columns,
      pool: endpoints.table,
      prefixSources: resident.sourcesFor(request.model),
      nowMs,
      staleAfterMs: this.#staleAfterMs,
      seed,
      exclude: exclude.slice(0, EXCLUDE_MAX).map((address) => endpoints.slotOfAddress(address)),
    };
  }

  #sparedFor(proposed: string | undefined, slack: Slack, input: PickInput): Uint8Array | undefined {
    if (proposed === undefined) return undefined;
    const slot = this.#options.endpoints.slotOfAddress(proposed);
    return this.#proposals.sparedFor(this.#picker!, { slot, slack }, input);
  }

  /** Valid until the next pick. */
  #sparedForLane(
    {
      isMoved = false,
      picker = this.#picker!,
    }: { isMoved?: boolean | undefined; picker?: EndpointPicker },
    input: PickInput,
  ): Uint8Array | undefined {
    if (isMoved) return undefined;
    return this.#proposals.sparedForLane(picker, this.#options.shards.lane, input);
  }

  /** How an attempt went, for its record. */
  ended(requestId: string, attempt: number, result: DecisionResult): void {
    this.#decisions.settle(requestId, attempt, result);
    this.local.ended(requestId, attempt, result);
  }

  /** Among which pools the request was chosen. */
  chosenAmong(requestId: string, choice: string): void {
    this.#poolChoices.add(requestId, choice);
  }

  endpointRemoved(slot: number): void {
    this.#picker?.onEndpointRemoved(slot);
    this.#shadow?.endpointRemoved(slot);
  }

  endpointRestarted(slot: number): void {
    this.#picker?.onEndpointRestarted(slot);
    this.#shadow?.endpointRestarted(slot);
  }

  /** The decisions on record for a request, by attempt. */
  records(requestId: string): DecisionRecord[] {
    return this.#decisions.find(requestId);
  }

  /** Among which pools the request was chosen; undefined where that is not known. */
  poolChoice(requestId: string): ReturnType<PoolChoices["find"]> {
    return this.#poolChoices.find(requestId);
  }

  /** Decisions on record, newest first. */
  page(query: DecisionQuery) {
    const { local, where } = this;
    return takePage({ records: this.#decisions, local, where }, query, this.#options.clock);
  }

  #configureShadow(scheduler: SchedulerConfig | undefined): void {
    if (JSON.stringify(scheduler) === JSON.stringify(this.#shadowScheduler)) return;
    this.#shadowScheduler = scheduler;
    this.#shadow =
      scheduler === undefined ? undefined : new Shadow(scheduler, this.#options.registry);
  }
}
