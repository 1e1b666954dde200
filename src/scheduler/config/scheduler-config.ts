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

export interface SchedulerConfig {
  readonly apiVersion: "llm-d.ai/v1alpha1";
  readonly kind: "EndpointPickerConfig";
  /** In the order they are made: what is read by others comes first. One is a profile handler. */
  readonly plugins: readonly PluginSpec[];
  readonly schedulingProfiles: readonly SchedulingProfileSpec[];
}
