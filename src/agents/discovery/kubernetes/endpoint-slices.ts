// EndpointSlices of a Service as endpoints.
//
// A slice has no labels of pods. It has its Service's own, which Kubernetes copies to it: what all engines
// of the pool share (the engine's type, a role) is said there. Zone and node are each endpoint's.

import { z } from "zod";
import type { Candidate } from "./candidates.ts";
import { metadataSchema } from "./object.ts";

/** What is kept of a slice. */
export interface Slice {
  /** Of a Service with two address families each pod is in two slices; the earlier one counts. */
  readonly family: number;
  readonly labels: Readonly<Record<string, string>>;
  readonly ports: readonly { readonly name: string; readonly port: number }[];
  readonly endpoints: readonly SliceEndpoint[];
}

interface SliceEndpoint {
  readonly name: string;
  readonly host: string;
  readonly labels: Readonly<Record<string, string>>;
}

const FAMILIES = ["IPv4", "IPv6", "FQDN"] as const;
/** Labels of the slice itself. */
const SLICE_LABELS = ["kubernetes.io/service-name", "endpointslice.kubernetes.io/"];
const ZONE = "topology.kubernetes.io/zone";
const HOSTNAME = "kubernetes.io/hostname";

const condition = z.boolean().nullish();
const sliceSchema = z.object({
  metadata: metadataSchema,
  addressType: z.enum(FAMILIES),
  ports: z
    .array(z.object({ name: z.string().nullish(), port: z.int().nullish() }))
    .nullish()
    .transform((ports) => ports ?? []),
  endpoints: z
    .array(
      z.object({
        addresses: z.array(z.string()).min(1),
        conditions: z.object({ ready: condition, terminating: condition }).nullish(),
        targetRef: z.object({ kind: z.string().optional(), name: z.string().optional() }).nullish(),
        nodeName: z.string().nullish(),
        zone: z.string().nullish(),
      }),
    )
    .nullish()
    .transform((endpoints) => endpoints ?? []),
});

/** Only what serves is kept. */
export function parseSlice(object: unknown): Slice | undefined {
  const { data } = sliceSchema.safeParse(object);
  if (data === undefined) return undefined;
  const labels = Object.entries(data.metadata.labels).filter(
    ([name]) => !SLICE_LABELS.some((prefix) => name.startsWith(prefix)),
  );
  const endpoints = data.endpoints.filter(
    // Unknown readiness counts as ready, says Kubernetes.
    ({ conditions }) => conditions?.ready !== false && conditions?.terminating !== true,
  );
  return {
    family: FAMILIES.indexOf(data.addressType),
    labels: Object.fromEntries(labels),
    ports: data.ports.flatMap(({ name, port }) =>
      typeof port === "number" ? [{ name: name ?? "", port }] : [],
    ),
    endpoints: endpoints.map(({ addresses, targetRef, nodeName, zone }) => ({
      name:
        targetRef?.kind === "Pod" && targetRef.name !== undefined
          ? targetRef.name
          : addresses[0]!.replaceAll(":", "-"),
      // The others are for nobody, says Kubernetes: all stand for the same endpoint.
      host: addresses[0]!,
      labels: {
        ...(typeof nodeName === "string" ? { [HOSTNAME]: nodeName } : {}),
        ...(typeof zone === "string" ? { [ZONE]: zone } : {}),
      },
    })),
  };
}

/**
 * Endpoints of the slices at the port of that name or number; null: the only one. For a while two slices
 * may have the same endpoint: it is taken once. Gives a mistake where a slice has no such port.
 */
export function sliceCandidates(
  slices: Iterable<Slice>,
  port: string | null,
): { readonly candidates: readonly Candidate[]; readonly mistake: string | undefined } {
  const candidates = new Map<string, Candidate>();
  let mistake: string | undefined;
  for (const slice of [...slices].sort((a, b) => a.family - b.family)) {
    if (slice.endpoints.length === 0) continue;
    const fitting = slice.ports.filter(
      (each) => port === null || each.name === port || String(each.port) === port,
    );
    if (fitting.length !== 1) {
      const names = slice.ports.map((each) => `${each.name || "unnamed"} (${each.port})`);
      const wanted = port === null ? "more or less than one port" : `no port ${port}`;
      mistake = `the Service has ${wanted}; it has ${names.join(", ") || "none"}`;
      continue;
    }
    for (const { name, host, labels } of slice.endpoints) {
      if (candidates.has(name)) continue;
      candidates.set(name, {
        name,
        host,
        port: fitting[0]!.port,
        labels: { ...slice.labels, ...labels },
      });
    }
  }
  return { candidates: [...candidates.values()], mistake };
}
