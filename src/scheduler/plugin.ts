// Contracts of the plugins: Filter → Score → Pick, as llm-d's scheduling framework.
//
//   screeners → data producers → admitters → ┌ profile handler names a profile ┐ → onPicked
//                                            └ filters → scorers → picker      ┘ until it names none
//
// One instance a named plugin and pool. An instance may be several kinds at once (context-length-aware
// is a filter and a scorer); its definition says which. Everything is synchronous.

import type { z } from "zod";
import type { DataSource, Extractor } from "./data-layer/compile.ts";
import type { DataByKey, DataKey, DataReader, PrefixMatch } from "./data/data.ts";
import type {
  EvictionFilter,
  EvictionOrder,
  FairnessPolicy,
  OrderingPolicy,
  SaturationDetector,
  UsageLimitPolicy,
} from "./flow-control/contracts.ts";
import type { CapacityRule } from "./kv/approximate-prefix.ts";
import type { EndpointColumns } from "./model/endpoint-columns.ts";
import type { Endpoint } from "./model/endpoint-table.ts";
import type { InferenceRequest } from "./model/inference-request.ts";
import type { PoolColumns } from "./pools/pool-columns.ts";
import type { Rng } from "./support/rng.ts";

/** Who a slot is. An EndpointTable. */
export interface EndpointDirectory {
  endpoint(slot: number): Endpoint | undefined;
}

/** Sources of prefix knowledge. Each fills arrays by slot; see PrefixMatch. */
export interface PrefixSources {
  /** Content keys learned from where requests went. */
  readonly approximate: (keys: Uint32Array, matchedBlocks: Int32Array) => void;
  /**
   * What the engines' own events say, where there are any: blocks held without a gap, and by tier
   * (`gpu`, `cpu`, …) in `tierBlocks`, which it fills for the tiers it has.
   */
  readonly exact?: (
    keys: Uint32Array,
    matchedBlocks: Int32Array,
    tierBlocks: ReadonlyMap<string, Int32Array>,
  ) => void;
}

/** What the profiles of this decision have chosen so far. */
export interface ProfileResults {
  /** First choice of a profile; -1 where it ran and found nobody, undefined where it did not run. */
  slotOf(profile: string): number | undefined;
  /** First choice of the first profile that found somebody; -1 before that. */
  readonly firstSlot: number;
}

/**
 * One decision in progress. The EndpointPicker owns everything in it and reuses it for the next
 * decision: a plugin must not retain any part after returning.
 */
export interface PickContext {
  readonly request: InferenceRequest;
  readonly endpoints: EndpointColumns;
  readonly pool: EndpointDirectory;
  /** The pool's best prefix knowledge: a configured precise producer's, else the approximate one's. */
  readonly prefix: PrefixMatch;
  /** For data producers only; everybody else reads what they made of it. */
  readonly prefixSources: PrefixSources;
  readonly data: DataReader;
  /** Name of the profile at work; "" outside of profiles. */
  readonly profile: string;
  readonly results: ProfileResults;
  /** Slots still in the running are `candidates[0 .. candidateCount)`, in ascending order. */
  readonly candidates: Int32Array;
  readonly candidateCount: number;
  /** Unix ms at which the decision is taken. */
  readonly nowMs: number;
  /** Samples older than this are stale: their endpoint ranks behind every fresh one. */
  readonly staleAfterMs: number;
  /** Seeded for this decision and plugin: what others draw changes nothing. */
  readonly rng: Rng;
  /** Where slots are pools: what is known of them besides. Plugins for pools do nothing without it. */
  readonly pools?: PoolColumns | undefined;
}

/** A context whose candidates its owner may narrow. */
export type NarrowingContext = { -readonly [K in keyof PickContext]: PickContext[K] };

/** What every plugin may implement besides its kinds. */
export interface PluginEvents {
  /**
   * Told once after a decision whose request was sent to `slot`, for those that learn from picks;
   * `context.results` has the other profiles' choices.
   */
  onPicked?(context: PickContext, slot: number): void;
  /** Told when an endpoint leaves: forget `slot`, it will be reused. */
  onEndpointRemoved?(slot: number): void;
  /**
   * Told when the engine of an endpoint has started anew: what it held in memory is gone. The endpoint
   * stays, and what was learned of itself, such as who it is and which sessions it has, stays true.
   */
  onEndpointRestarted?(slot: number): void;
  /** Headers that the client's answer carries, each with a value for whichever endpoint served. */
  readonly responseHeaders?: readonly ResponseHeader[];
}

export interface ResponseHeader {
  readonly name: string;
  /** The profile whose endpoint is named: nothing is set where it did not run. null: the primary. */
  readonly profile: string | null;
  /** "" for an endpoint that there is nothing to say of: nothing is set. */
  valueOf(endpoint: Endpoint): string;
}

/** Removes candidates. */
export interface Filter extends PluginEvents {
  /**
   * Compacts `context.candidates` in place, in their order, and returns how many are left. 0 ends the
   * profile: nobody is chosen.
   */
  filter(context: PickContext): number;
}

/** Ranks candidates. A higher score is better. */
export interface Scorer extends PluginEvents {
  /**
   * Writes one value in [0, 1] into each of `out[0 .. context.candidateCount)` (out[i] belongs to
   * slot candidates[i]) and touches nothing else. The caller owns `out`.
   */
  score(context: PickContext, out: Float64Array): void;
  /** What the last score was made of, for records; see ScoreTerms. */
  readonly terms?: ScoreTerms;
}

/** Parts of a score that are worth explaining: the scorer owns the arrays, valid until the next call. */
export interface ScoreTerms {
  /** e.g. `prefillMs`; the unit is in the name. At most SCORE_TERMS_MAX. */
  readonly names: readonly string[];
  /** One array a name, parallel to the candidates. */
  readonly values: readonly Float64Array[];
}
export const SCORE_TERMS_MAX = 12;

/** Orders the scored candidates. */
export interface Picker extends PluginEvents {
  /**
   * Writes the slots to try, best first, into `out` and returns how many.
   * `totals[i]` is the weighted sum for candidates[i]. A candidate that is not chosen does not
   * matter: without it the choice is the same. Records of large pools, which keep the best candidates
   * only, rely on it.
   */
  pick(context: PickContext, totals: Float64Array, rng: Rng, out: Int32Array): number;
}

/** Says which profiles run and what their results mean. Exactly one a configuration. */
export interface ProfileHandler extends PluginEvents {
  /** The profile to run next, or undefined when all have run. Asked again after each, up to PROFILES_MAX times. */
  next(context: PickContext): string | undefined;
  /** After the last profile. A sentence when no endpoint can be named. */
  finish(context: PickContext): SchedulingStages | string;
}

/** Names of the profiles whose choices make the result. */
export interface SchedulingStages {
  /** Where the request goes; decode, where stages are split. */
  readonly primary: string;
  readonly prefill?: string;
  readonly encode?: string;
  /**
   * The port of each host whose process dispatches to data-parallel ranks: whoever serves is told the
   * address of the chosen one.
   */
  readonly dataParallelPort?: number;
  /** What deciders said in this decision, in the order they were asked; for records. At most VERDICTS_MAX. */
  readonly verdicts?: readonly StageVerdict[];
}

/** What a decider said. Valid until the next decision. */
export interface StageVerdict {
  readonly stage: "prefill" | "encode";
  /** Whether it is worth running apart. */
  readonly isApart: boolean;
  readonly terms?: VerdictTerms;
}
/** A stage has one decider, and is asked for once. */
export const VERDICTS_MAX = 2;

/** Whether a stage is worth running for a request, given the decode endpoint that was chosen. */
export interface Decider extends PluginEvents {
  decide(context: PickContext, slot: number): boolean;
  /** What the last answer was made of, for records. */
  readonly verdictTerms?: VerdictTerms;
}

/** Numbers that are worth explaining: the decider owns the array, valid until the next call. */
export interface VerdictTerms {
  /** e.g. `localMs`; the unit is in the name. At most SCORE_TERMS_MAX. */
  readonly names: readonly string[];
  /** One a name; NaN for what there is nothing to say of. */
  readonly values: Float64Array;
}

/** Fills its `data` before any profile runs; `context.candidates` are all that may be chosen. */
export interface DataProducer extends PluginEvents {
  readonly data: Partial<DataByKey>;
  produce(context: PickContext): void;
}

/** Turns requests away. */
export interface Admitter extends PluginEvents {
  /** A sentence for whoever was turned away, or undefined. */
  admit(context: PickContext): string | undefined;
}

/** Restricts the candidates of all profiles. Screeners see the same candidates; what all keep is left. */
export interface Screener extends PluginEvents {
  /** Clears `keep[i]` for each candidates[i] that may not be chosen. */
  screen(context: PickContext, keep: Uint8Array): void;
}

/** Plugins that are configuration only here: what they describe happens elsewhere, as their files say. */
export type Declaration = PluginEvents;

export interface InstanceOfKind {
  readonly filter: Filter;
  readonly scorer: Scorer;
  readonly picker: Picker;
  readonly "profile-handler": ProfileHandler;
  readonly decider: Decider;
  readonly "data-producer": DataProducer;
  readonly admitter: Admitter;
  readonly screener: Screener;
  readonly "request-header": Declaration;
  readonly parser: Declaration;
  readonly "data-source": PluginEvents & DataSource;
  readonly extractor: PluginEvents & Extractor;
  readonly "fairness-policy": PluginEvents & FairnessPolicy;
  readonly "ordering-policy": PluginEvents & OrderingPolicy;
  readonly "saturation-detector": PluginEvents & SaturationDetector;
  readonly "usage-limit-policy": PluginEvents & UsageLimitPolicy;
  readonly "eviction-filter": PluginEvents & EvictionFilter;
  readonly "eviction-order": PluginEvents & EvictionOrder;
}
export type PluginKind = keyof InstanceOfKind;

/** Kinds that a scheduling profile lists. */
export const PROFILE_KINDS = ["filter", "scorer", "picker"] as const satisfies PluginKind[];

/** Kinds of plugins that flow control asks; a profile that lists nobody else says nothing of scheduling. */
export const FLOW_CONTROL_KINDS: readonly PluginKind[] = [
  "fairness-policy",
  "ordering-policy",
  "saturation-detector",
  "usage-limit-policy",
  "eviction-filter",
  "eviction-order",
];

export type PluginInstance = PluginEvents &
  Partial<Omit<Filter & Scorer, keyof PluginEvents>> &
  Partial<Omit<Picker & ProfileHandler & Decider & DataProducer, keyof PluginEvents>> &
  Partial<Omit<Admitter & Screener, keyof PluginEvents>> &
  Partial<FairnessPolicy & OrderingPolicy & SaturationDetector & UsageLimitPolicy> &
  Partial<EvictionFilter & EvictionOrder>;

/** Data that a plugin reads. */
export interface DataNeed {
  readonly key: DataKey;
  /** Name of the producer's instance; the default one of DEFAULT_PRODUCERS where absent or "". */
  readonly producer?: string | undefined;
  /** Optional needs do not create a producer. */
  readonly isOptional?: boolean;
}

/** A parameter that names another plugin. */
export interface PluginReference {
  /** Path within the parameters, e.g. `deciders.prefill`. */
  readonly path: string;
  readonly name: string;
  readonly kind: PluginKind;
}

/** A parameter that names a scheduling profile. */
export type ProfileReference = {
  /** Path within the parameters, e.g. `profiles.decode`. */
  readonly path: string;
  readonly name: string;
} & (
  | { readonly isNeeded: true }
  /** What comes of it that there is none, as the end of a sentence. */
  | { readonly isNeeded?: false; readonly without: string }
);

/** What an instance is given when it is made. */
export interface Wiring {
  /** The instance's own name. */
  readonly name: string;
  /** Names of the configuration's scheduling profiles, in order. */
  readonly profiles: readonly string[];
  /** How much the pool's approximate index remembers; absent: whatever the instance would have. */
  readonly poolRule?: CapacityRule;
  /** Another instance; it was made before, because `references` names it. */
  instance(name: string): PluginInstance;
}

/** llm-d's stability classes, `fairlead` for what llm-d does not have. */
export type Stability = "beta" | "alpha" | "fairlead";

/** What plugins are for whose kind does not say it: sections of the configuration ask for one of these. */
export type PluginRole =
  | "fairness policy"
  | "ordering policy"
  | "usage limit policy"
  | "saturation detector"
  | "eviction filter"
  | "eviction ordering policy"
  | "endpoint discovery"
  | "peer discovery"
  | "cross-replica syncer";

/** A plugin type. */
export interface PluginDefinition<
  Type extends string = string,
  Params extends z.ZodType = z.ZodType,
  Kind extends PluginKind = PluginKind,
> {
  readonly type: Type;
  readonly kinds: readonly Kind[];
  readonly role?: PluginRole;
  /** `alpha` needs `allowExperimentalPlugins`. `beta` where absent. */
  readonly stability?: Stability;
  /** Types that llm-d still accepts for it. */
  readonly aliases?: readonly string[];
  /** What to use instead, as a sentence; the configuration check prints it. */
  readonly deprecated?: string;
  readonly params: Params;
  consumes?(params: z.output<Params>): readonly DataNeed[];
  readonly produces?: readonly DataKey[];
  references?(params: z.output<Params>): readonly PluginReference[];
  /** Scheduling profiles that it runs or looks at, of a configuration that has `profiles`. */
  profilesNamed?(
    params: z.output<Params>,
    profiles: readonly string[],
  ): readonly ProfileReference[];
  /** Scheduling profiles that it works with; any number where absent. */
  readonly profilesMax?: number;
  /** Request headers it reads, in lower case: the Worker passes these on, and no others. */
  requestHeaders?(params: z.output<Params>): readonly string[];
  /** Headers it sets on the client's answer, in lower case. */
  answerHeaders?(params: z.output<Params>): readonly string[];
  /**
   * Sentences for whoever configures it: options that act otherwise here than in llm-d, or not yet.
   * The configuration check prints them.
   */
  notes?(params: z.output<Params>): readonly string[];
  /**
   * Why only the pool's object can decide with it, as the end of a sentence: it goes by what all of the pool's
   * requests did, and that is not in an isolate's copy. Undefined, or absent, where the copy will do.
   */
  needsObject?(params: z.output<Params>): string | undefined;
  /**
   * Of a scorer: it goes by loads, speeds and cached prefixes alone. Where all do, it may be left open which of several
   * endpoints without load gets a request; see PickInput's `spared`.
   */
  readonly ranksByLoad?: boolean;
  /**
   * Of a filter: of endpoints that can be sent requests (isUsable in edge/idle.ts) it removes none but those that have just come.
   * Where all do, a shard knows before the filters whom of its lane they will leave; see shards/lane.ts.
   */
  readonly keepsUsable?: boolean;
  /** One instance a name and pool; what it remembers must be rebuildable after an eviction. */
  create(params: z.output<Params>, wiring: Wiring): InstancesOf<Kind>;
}

type UnionToIntersection<U> = (U extends unknown ? (u: U) => void : never) extends (
  i: infer I,
) => void
  ? I
  : never;
type InstancesOf<Kind extends PluginKind> = UnionToIntersection<InstanceOfKind[Kind]>;

/** Identity; it exists so that `create` sees the parsed type of `params` and the kinds it must be. */
export function definePlugin<
  const Type extends string,
  Params extends z.ZodType,
  const Kind extends PluginKind,
>(plugin: PluginDefinition<Type, Params, Kind>): PluginDefinition<Type, Params, Kind> {
  return plugin;
}

type OneKind<Type extends string, Params extends z.ZodType, Kind extends PluginKind> = Omit<
  PluginDefinition<Type, Params, Kind>,
  "kinds"
>;

function ofKind<Kind extends PluginKind>(kind: Kind) {
  return <const Type extends string, Params extends z.ZodType>(
    plugin: OneKind<Type, Params, Kind>,
  ): PluginDefinition<Type, Params, Kind> => ({ ...plugin, kinds: [kind] });
}

export const defineFilter = ofKind("filter");
export const defineScorer = ofKind("scorer");
export const definePicker = ofKind("picker");
export const defineProfileHandler = ofKind("profile-handler");
export const defineDecider = ofKind("decider");
export const defineDataProducer = ofKind("data-producer");
export const defineAdmitter = ofKind("admitter");
export const defineScreener = ofKind("screener");
export const defineRequestHeader = ofKind("request-header");
export const defineParser = ofKind("parser");
export const defineDataSource = ofKind("data-source");
export const defineExtractor = ofKind("extractor");
export const defineFairnessPolicy = ofKind("fairness-policy");
export const defineOrderingPolicy = ofKind("ordering-policy");
export const defineSaturationDetector = ofKind("saturation-detector");
export const defineUsageLimitPolicy = ofKind("usage-limit-policy");
export const defineEvictionFilter = ofKind("eviction-filter");
export const defineEvictionOrder = ofKind("eviction-order");
