// From what a cluster says to endpoints as the pool's object takes them: bounded, without duplicates, in
// one order.

import { FRAME_HEADER_BYTES } from "../../protocol/codec.ts";
import { PROTOCOL_LIMITS } from "../../protocol/limits.ts";
import { endpointSchema, type EndpointRecord } from "../../protocol/messages.ts";
import { engineOf } from "../engine-label.ts";

/** A place where an engine serves, as a pod or an EndpointSlice says it. */
export interface Candidate {
  /** Without the namespace. */
  readonly name: string;
  /** An IP address, or a host name. */
  readonly host: string;
  readonly port: number;
  readonly labels: Readonly<Record<string, string>>;
}

export interface Endpoints {
  readonly endpoints: readonly EndpointRecord[];
  /** Candidates that are no endpoints: beyond a bound, or mistaken. */
  readonly leftOut: number;
  /** Sentences for people. */
  readonly mistakes: readonly string[];
}

/** Mistakes that are told at once. */
export const MISTAKES_MAX = 20;
/** Of the frame that tells endpoints, apart from them. */
const PAYLOAD_BYTES_MAX = PROTOCOL_LIMITS.frameBytesMax - FRAME_HEADER_BYTES - 64;

/**
 * Controllers' fingerprints and names of single pods: no scheduler chooses by them, and with hundreds of
 * endpoints they would fill the frame that tells them.
 */
const LABELS_LEFT_OUT = new Set([
  "pod-template-hash",
  "controller-revision-hash",
  "controller-uid",
  "batch.kubernetes.io/controller-uid",
  "statefulset.kubernetes.io/pod-name",
  "leaderworkerset.sigs.k8s.io/group-key",
  "leaderworkerset.sigs.k8s.io/template-revision-hash",
]);
/** Prefixes of labels that stay where there are too many. */
const LABELS_FIRST = ["fairlead/", "llm-d.ai/", "topology.kubernetes.io/", "kubernetes.io/"];

/**
 * Endpoints in the order of their ids. Past a bound those stay that are known now: else one more pod
 * would move the whole pool. `known` has their ids.
 */
export function toEndpoints(
  namespace: string,
  candidates: readonly Candidate[],
  known: ReadonlySet<string>,
): Endpoints {
  const mistakes: string[] = [];
  const endpoints: EndpointRecord[] = [];
  const addresses = new Map<string, string>();
  let bytes = 0;
  let beyond = 0;
  const records = candidates.map((candidate) => toRecord(namespace, candidate));
  const rank = ({ id }: EndpointRecord) => (known.has(id) ? 0 : 1);
  records.sort((a, b) => rank(a) - rank(b) || compareText(a.id, b.id));
  for (const record of records) {
    const mistake = mistakeOf(record, addresses);
    if (mistake !== undefined) {
      mistakes.push(`${record.id}: ${mistake}`);
      continue;
    }
    bytes += Buffer.byteLength(JSON.stringify(record)) + 1;
    if (endpoints.length >= PROTOCOL_LIMITS.endpointsMax || bytes > PAYLOAD_BYTES_MAX) {
      beyond += 1;
      continue;
    }
    addresses.set(record.address, record.id);
    endpoints.push(record);
  }
  const leftOut = mistakes.length + beyond;
  if (beyond > 0) mistakes.unshift(`${beyond} endpoints are more than a pool can have`);
  endpoints.sort((a, b) => compareText(a.id, b.id));
  return { endpoints, leftOut, mistakes: mistakes.slice(0, MISTAKES_MAX) };
}

function toRecord(namespace: string, { name, host, port, labels: all }: Candidate): EndpointRecord {
  const bracketed = host.includes(":") ? `[${host}]` : host;
  const labels = boundedLabels(all);
  const address = `${bracketed.toLowerCase()}:${port}`;
  return { id: `${namespace}/${name}`, address, engine: engineOf(labels), labels };
}

function mistakeOf(
  record: EndpointRecord,
  addresses: ReadonlyMap<string, string>,
): string | undefined {
  const other = addresses.get(record.address);
  if (other !== undefined) return `${record.address} is also the address of ${other}`;
  const parsed = endpointSchema.safeParse(record);
  if (parsed.success) return undefined;
  const [issue] = parsed.error.issues;
  return `${issue!.path.join(".")}: ${issue!.message}`;
}

function boundedLabels(labels: Readonly<Record<string, string>>): Record<string, string> {
  const { labelsMax, labelCharsMax } = PROTOCOL_LIMITS;
  const fitting = Object.entries(labels).filter(
    ([name, value]) =>
      !LABELS_LEFT_OUT.has(name) && name.length <= labelCharsMax && value.length <= labelCharsMax,
  );
  const place = (name: string) => {
    const found = LABELS_FIRST.findIndex((prefix) => name.startsWith(prefix));
    return found < 0 ? LABELS_FIRST.length : found;
  };
  fitting.sort(([a], [b]) => place(a) - place(b) || compareText(a, b));
  return Object.fromEntries(fitting.slice(0, labelsMax));
}

/** By code units: the same on every machine. */
function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
