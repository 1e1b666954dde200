// What a request may claim: its objective, its flow, and how long it waits.
//
//   priority = min(tenant's ceiling, priority of the objective it names, or else of the tenant's own)
//              the ceiling, where neither names one that the pool knows
//
// A client may name an objective, and by that lower its priority or lift it above that of its tenant's
// objective, but never above its tenant's ceiling. Its flow is its tenant, whatever it says: with a flow of its own for each request it would
// be served before everybody else. Only a trusted hop names flows, and is believed; a flow with the
// name of a tenant is that tenant's.
//
// Source: llm-d's InferenceObjective (llm-d.ai/v1alpha2) and the headers of its request control. There
// whoever can send a header has the priority it names, who names none has 0, and all requests without a
// fairness id are one flow.

import { parseDurationMs } from "../config/quantities.ts";

/** Both families; the first is believed where both are there. */
export const OBJECTIVE_HEADERS = ["x-llm-d-inference-objective", "x-gateway-inference-objective"];
export const FAIRNESS_ID_HEADERS = [
  "x-llm-d-inference-fairness-id",
  "x-gateway-inference-fairness-id",
];
/** A Go duration, e.g. `1500ms`. */
export const TTL_HEADER = "x-llm-d-inference-ttl";
/** A longer id is not looked at: cut short it could be another's. */
export const FAIRNESS_ID_CHARS_MAX = 256;

export interface InferenceObjective {
  /** Any sign; higher first. */
  readonly priority: number;
  /** Of requests that name none themselves. */
  readonly ttftSloMs?: number | undefined;
}

/** The part of a tenant that matters here, in the words of its configuration. */
export interface FlowTenant {
  readonly id: string;
  /** Its ceiling. */
  readonly priority: number;
  /** The objective of requests that name none, or one that is not known. */
  readonly objective?: string | undefined;
  /** It speaks for others: a gateway. */
  readonly trustedHop: boolean;
}

export interface ResolvedObjective {
  readonly priority: number;
  readonly fairnessId: string;
  readonly ttftSloMs?: number;
  readonly ttlMs?: number;
}

/** `header`: a header's value by its name in lower case. */
export function resolveObjective(
  header: (name: string) => string | undefined,
  objectives: ReadonlyMap<string, InferenceObjective>,
  tenant: FlowTenant,
): ResolvedObjective {
  const named = objectives.get(firstOf(header, OBJECTIVE_HEADERS) ?? "");
  const objective = named ?? objectives.get(tenant.objective ?? "");
  const ttlMs = parseTtlMs(header(TTL_HEADER));
  const ttftSloMs = objective?.ttftSloMs;
  return {
    priority: resolvePriority(tenant, objective),
    fairnessId: fairnessIdOf(header, tenant),
    ...(ttftSloMs === undefined ? {} : { ttftSloMs }),
    ...(ttlMs === undefined ? {} : { ttlMs }),
  };
}

/** Name of the objective that counts for the request; undefined if none does. */
export function objectiveName(
  header: (name: string) => string | undefined,
  objectives: ReadonlyMap<string, InferenceObjective>,
  tenant: Pick<FlowTenant, "objective">,
): string | undefined {
  const names = [firstOf(header, OBJECTIVE_HEADERS), tenant.objective];
  return names.find((name) => name !== undefined && objectives.has(name));
}

/** `objective`: that of the request, or else of its tenant. */
export function resolvePriority(
  { priority }: Pick<FlowTenant, "priority">,
  objective: InferenceObjective | undefined,
): number {
  return Math.min(priority, objective?.priority ?? priority);
}

function fairnessIdOf(header: (name: string) => string | undefined, tenant: FlowTenant): string {
  // Compared: a directory of the version before does not say it.
  if (tenant.trustedHop !== true) return tenant.id;
  const id = firstOf(header, FAIRNESS_ID_HEADERS);
  return id !== undefined && id.length <= FAIRNESS_ID_CHARS_MAX ? id : tenant.id;
}

function firstOf(
  header: (name: string) => string | undefined,
  names: readonly string[],
): string | undefined {
  for (const name of names) {
    const value = header(name)?.trim();
    if (value !== undefined && value !== "") return value;
  }
  return undefined;
}

/** undefined for no duration, and for one that is not over 0: neither shortens a wait. */
function parseTtlMs(written: string | undefined): number | undefined {
  const ttlMs = written === undefined ? undefined : parseDurationMs(written.trim());
  return ttlMs !== undefined && ttlMs > 0 ? ttlMs : undefined;
}
