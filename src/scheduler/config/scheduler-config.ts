// A pool's scheduling configuration: llm-d's EndpointPickerConfig, with everything that it leaves
// open filled in. It is what is stored, recorded with decisions and printed by `config check`, and
// reading it again gives the same.

type JsonScalar = string | number | boolean | null;
type JsonOf<Inner> = JsonScalar | readonly Inner[] | { readonly [key: string]: Inner };
/** JSON of bounded depth: a recursive type is too much for the types of Cloudflare's RPC. */
type JsonValue = JsonOf<JsonOf<JsonOf<JsonOf<JsonOf<JsonScalar>>>>>;
export type PluginParameters = { readonly [name: string]: JsonValue };

/** A plugin instance of a pool. */
export interface PluginSpec {
  readonly name: string;
  readonly type: string;
  /** All of them, defaults included. */
  readonly parameters: PluginParameters;
}

export interface ProfilePluginSpec {
  readonly pluginRef: string;
  /** Of scorers only. */
  readonly weight?: number | undefined;
}

export interface SchedulingProfileSpec {
  readonly name: string;
  /** In the order they run; filters, scorers and one picker, whatever their order here. */
  readonly plugins: readonly ProfilePluginSpec[];
}

export interface PluginRef {
  readonly pluginRef: string;
}

export interface DataSourceSpec extends PluginRef {
  readonly extractors: readonly PluginRef[];
}

/** What is read of endpoints. */
export interface DataLayerSpec {
  readonly injectDefaults: boolean;
  readonly sources: readonly DataSourceSpec[];
  readonly discovery?: PluginRef;
  readonly peerDiscovery?: PluginRef;
  /** "": none. */
  readonly crossReplicaSyncerPluginRef: string;
  /** A duration: see parseDurationMs, as all durations of a configuration. */
  readonly crossReplicaSyncInterval: string;
}

/** Bounds and policies of the requests of one priority. */
export interface PriorityBandTemplate {
  readonly maxBytes: number;
  readonly maxRequests: number;
  /** Uncached prompt and expected answer; absent: unlimited. */
  readonly maxTokens?: number;
  /** Absent: as for all bands. */
  readonly defaultRequestTTL?: string;
  readonly fairnessPolicyRef: string;
  readonly orderingPolicyRef: string;
}

export interface PriorityBandSpec extends PriorityBandTemplate {
  readonly priority: number;
}

export interface FlowControlSpec {
  /** 0: unlimited, as the next. */
  readonly maxBytes: number;
  readonly maxRequests: number;
  /** As those of a band. */
  readonly maxTokens?: number;
  /** A duration; `0s`: for ever, as the next. */
  readonly defaultRequestTTL: string;
  readonly noEndpointRequestTTL: string;
  readonly defaultPriorityBand: PriorityBandTemplate;
  /** For priorities below 0. */
  readonly defaultNegativePriorityBand: PriorityBandTemplate;
  readonly priorityBands: readonly PriorityBandSpec[];
  readonly usageLimitPolicyPluginRef: string;
  readonly saturationDetector: PluginRef;
  readonly enableEviction: boolean;
}

/** Who reads the bodies of requests. */
export interface RequestHandlerSpec {
  /** In order: of those that claim the same path, the first. */
  readonly parsers: readonly PluginRef[];
}

export interface SchedulerConfig {
  readonly apiVersion: "llm-d.ai/v1alpha1";
  readonly kind: "EndpointPickerConfig";
  /** Every gate there is, as `name=true` or `name=false`. */
  readonly featureGates: readonly string[];
  /** In the order they are made: what is read by others comes first. One is a profile handler. */
  readonly plugins: readonly PluginSpec[];
  readonly schedulingProfiles: readonly SchedulingProfileSpec[];
  readonly dataLayer: DataLayerSpec;
  readonly flowControl: FlowControlSpec;
  readonly requestHandler: RequestHandlerSpec;
}
