// Pods of an InferencePool as endpoints: one for each pod and target port.
//
// Source: llm-d-router pkg/epp/datastore. Names, ranks and the annotation of active ports are llm-d's. A
// pod that is being deleted is none at once, as there; one without an address is none, too.

import { z } from "zod";
import { KV_EVENT_LABELS } from "../../collector/kv-events/event-urls.ts";
import type { Candidate } from "./candidates.ts";
import { metadataSchema } from "./object.ts";

/** What is kept of a pod. */
export interface Pod {
  readonly name: string;
  /** "": it has none yet. */
  readonly host: string;
  /** Ready, and not on its way out. */
  readonly isServing: boolean;
  /** Its labels, its node's name, and annotations of Fairlead's. */
  readonly labels: Readonly<Record<string, string>>;
  /** The only target ports that serve; undefined: all do. */
  readonly activePorts: ReadonlySet<number> | undefined;
}

/** Target ports of the pod that serve, and its older name. */
const ACTIVE_PORTS = ["llm-d.ai/active-ports", "inference.networking.k8s.io/active-ports"];
const HOSTNAME = "kubernetes.io/hostname";
/** Annotations that count as labels: a label of Kubernetes cannot hold a URL. */
const OWN_PREFIX = "fairlead/";
/** Of a pod with several target ports: a value for each, between commas. */
const LISTED_BY_PORT: readonly string[] = [KV_EVENT_LABELS.eventsUrl, KV_EVENT_LABELS.replayUrl];

const podSchema = z.object({
  metadata: metadataSchema,
  spec: z.object({ nodeName: z.string().optional() }).optional(),
  status: z
    .object({
      podIP: z.string().optional(),
      conditions: z.array(z.object({ type: z.string(), status: z.string() })).nullish(),
    })
    .optional(),
});

export function parsePod(object: unknown): Pod | undefined {
  const { data } = podSchema.safeParse(object);
  if (data === undefined) return undefined;
  const { metadata, spec, status } = data;
  const isReady =
    status?.conditions?.some(({ type, status: is }) => type === "Ready" && is === "True") ?? false;
  const own = Object.entries(metadata.annotations).filter(([name]) => name.startsWith(OWN_PREFIX));
  return {
    name: metadata.name,
    host: status?.podIP ?? "",
    isServing: isReady && (metadata.deletionTimestamp ?? null) === null,
    labels: {
      ...(spec?.nodeName === undefined ? {} : { [HOSTNAME]: spec.nodeName }),
      ...Object.fromEntries(own),
      ...metadata.labels,
    },
    activePorts: activePorts(metadata.annotations),
  };
}

function activePorts(annotations: Readonly<Record<string, string>>): Set<number> | undefined {
  const text = ACTIVE_PORTS.map((name) => annotations[name]).find((value) => value !== undefined);
  // What is no port in it is none of the target's, either.
  return text === undefined ? undefined : new Set(text.split(",").map(Number));
}

/** Endpoints of the pods, where they serve. The rank of an endpoint is its port's place in the pool. */
export function podCandidates(pods: Iterable<Pod>, targetPorts: readonly number[]): Candidate[] {
  const candidates: Candidate[] = [];
  for (const { name, host, isServing, labels, activePorts: active } of pods) {
    if (!isServing || host === "") continue;
    targetPorts.forEach((port, rank) => {
      if (active !== undefined && !active.has(port)) return;
      const ranked = targetPorts.length === 1 ? labels : labelsOfRank(labels, rank, targetPorts);
      candidates.push({ name: `${name}-rank-${rank}`, host, port, labels: ranked });
    });
  }
  return candidates;
}

/** Ranks publish their KV events on ports of their own. */
function labelsOfRank(
  labels: Readonly<Record<string, string>>,
  rank: number,
  { length }: readonly number[],
): Record<string, string> {
  const ranked: Record<string, string> = { [KV_EVENT_LABELS.rank]: String(rank), ...labels };
  for (const name of LISTED_BY_PORT) {
    const values = labels[name]?.split(",");
    if (values?.length === length) ranked[name] = values[rank]!;
  }
  return ranked;
}
