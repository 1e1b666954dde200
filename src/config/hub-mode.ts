// llm-d's hub mode as a pool: a cluster-scoped EndpointPickerConfig whose endpoints are clusters, and the file
// that lists them, become one pool with a gateway a cluster. What the plugins say stays as it is written;
// where llm-d's process reads the clusters' metrics, the pool's object does.
//
// Source: llm-d-router pkg/epp/framework/plugins/README.md, "Multi-cluster variants", and
// datalayer/discovery/file/multicluster.go. Stricter than that: a bad or repeated entry is a mistake of the
// whole file, and a metricsPort without a metricsAddress, which llm-d does not look at, is one, too.

import { z } from "zod";
import { parseDurationMs } from "../scheduler/config/quantities.ts";
import { multiclusterMetricsDataSource } from "../scheduler/plugins/data-source/multicluster-metrics-data-source.ts";
import { multiclusterMetricsExtractor } from "../scheduler/plugins/extractor/multicluster-metrics-extractor.ts";
import { type ConfigIssue, formatPath } from "./deployment.ts";
import { UPSTREAM_LIMITS } from "./upstreams.ts";

const DISCOVERY = "multicluster-file-discovery";

const host = z
  .string()
  .max(253)
  .regex(
    /^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$|^[0-9a-fA-F:.]{2,45}$/,
    "expected a host name or an IP address",
  );
const port = z.coerce.number("expected a port").pipe(z.int().min(1).max(65_535));

const clustersSchema = z.strictObject({
  endpoints: z
    .array(
      z.strictObject({
        name: z
          .string()
          .regex(
            /^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$/,
            "expected lower-case letters, digits, dots and hyphens, 1 to 63 characters",
          ),
        namespace: z.string().max(63).optional(),
        address: host,
        port: port.default(8_000),
        labels: z.record(z.string(), z.string()).default({}),
      }),
    )
    .min(1)
    .max(UPSTREAM_LIMITS.upstreamsPerPoolMax),
});
type Cluster = z.output<typeof clustersSchema>["endpoints"][number];

const pluginsOutline = z.object({
  plugins: z.array(z.object({ type: z.string(), parameters: z.unknown().optional() })),
});
type Plugin = z.output<typeof pluginsOutline>["plugins"][number];

/** Where the clusters' gateways take requests; llm-d has that in its proxy's configuration. */
export interface HubOptions {
  readonly scheme: "http" | "https";
}

/** The part of a pool's configuration that follows. */
export interface HubPool {
  readonly upstreams: readonly object[];
  /** As it was written. */
  readonly scheduler: unknown;
  readonly allowExperimentalPlugins: true;
}

export type HubConversion =
  | { readonly ok: true; readonly pool: HubPool; readonly notes: readonly string[] }
  | { readonly ok: false; readonly issues: readonly ConfigIssue[] };

/** `scheduler`: an EndpointPickerConfig that is right for itself. `clusters`: the file its discovery names. */
export function hubPool(scheduler: unknown, clusters: unknown, options: HubOptions): HubConversion {
  const outline = pluginsOutline.safeParse(scheduler);
  const plugins = outline.data?.plugins ?? [];
  if (!plugins.some(({ type }) => type === DISCOVERY)) {
    const message = `has no ${DISCOVERY}: its endpoints are no clusters`;
    return { ok: false, issues: [{ path: "plugins", message }] };
  }
  const parsed = clustersSchema.safeParse(clusters);
  if (!parsed.success) {
    const issues = parsed.error.issues.map(({ path, message }) => ({
      path: formatPath(path),
      message,
    }));
    return { ok: false, issues };
  }
  const { endpoints } = parsed.data;
  const issues = endpoints.flatMap((cluster, i) => clusterIssues(cluster, i, endpoints));
  if (issues.length > 0) return { ok: false, issues };
  const read = readOf(plugins);
  const upstreams = endpoints.map((cluster) => upstreamOf(cluster, read, options));
  return {
    ok: true,
    pool: { upstreams, scheduler, allowExperimentalPlugins: true },
    notes: read === undefined ? [] : read.notes,
  };
}

function clusterIssues(
  { name, labels }: Cluster,
  index: number,
  all: readonly Cluster[],
): ConfigIssue[] {
  const at = formatPath(["endpoints", index]);
  const issues: ConfigIssue[] = [];
  const first = all.findIndex((other) => other.name === name);
  if (first < index) issues.push({ path: at, message: `${name} is also endpoints[${first}]` });
  const { metricsAddress, metricsPort } = labels;
  if (metricsPort !== undefined && metricsAddress === undefined)
    issues.push({
      path: `${at}.labels`,
      message: "metricsPort says nothing without metricsAddress",
    });
  for (const [label, schema] of [
    ["metricsAddress", host],
    ["metricsPort", port],
  ] as const)
    if (labels[label] !== undefined && !schema.safeParse(labels[label]).success)
      issues.push({ path: `${at}.labels.${label}`, message: "expected a host name or a port" });
  return issues;
}

interface ClusterRead {
  readonly scheme: string;
  readonly path: string;
  /** 0: the cluster's own. */
  readonly port: number;
  readonly fields: object;
  readonly notes: readonly string[];
}

/** How clusters' metrics are read; undefined where the configuration has no source for them. */
function readOf(plugins: readonly Plugin[]): ClusterRead | undefined {
  const source = plugins.find(({ type }) => type === multiclusterMetricsDataSource.type);
  const params = multiclusterMetricsDataSource.params.safeParse(source?.parameters ?? {}).data;
  if (source === undefined || params === undefined) return undefined;
  const extractor = plugins.find(({ type }) => type === multiclusterMetricsExtractor.type);
  const named = multiclusterMetricsExtractor.params.safeParse(extractor?.parameters ?? {}).data;
  const intervalMs = parseDurationMs(params.interval);
  const { caCertPath, clientCertPath, insecureSkipVerify } = params;
  const hasCertificates = caCertPath !== "" || clientCertPath !== "" || insecureSkipVerify;
  return {
    scheme: params.scheme,
    path: params.path,
    port: params.port,
    fields: {
      ...(named?.kvCacheUtilizationMetric ? { kvUsage: named.kvCacheUtilizationMetric } : {}),
      ...(named?.queueSizeMetric ? { queueSize: named.queueSizeMetric } : {}),
      ...(intervalMs === undefined
        ? {}
        : { intervalMs: Math.round(Math.min(60_000, Math.max(200, intervalMs))) }),
    },
    notes: hasCertificates
      ? [
          `certificates of ${multiclusterMetricsDataSource.type} are not files here: give the upstreams a binding, such as an mTLS certificate or a VPC service`,
        ]
      : [],
  };
}

function upstreamOf(
  { name, address, port: ownPort, labels }: Cluster,
  read: ClusterRead | undefined,
  { scheme }: HubOptions,
): object {
  const { metricsAddress, metricsPort, ...rest } = labels;
  const metricsHost = metricsAddress ?? address;
  // As in llm-d: the label's port, the source's, or the cluster's own.
  const at = metricsPort ?? (read?.port ? read.port : ownPort);
  return {
    name,
    kind: "gateway",
    url: `${scheme}://${inUrl(address)}:${ownPort}`,
    ...(read === undefined
      ? {}
      : {
          metrics: {
            url: `${read.scheme}://${inUrl(metricsHost)}:${at}${read.path}`,
            ...read.fields,
          },
        }),
    ...(Object.keys(rest).length === 0 ? {} : { labels: rest }),
  };
}

/** An IPv6 address has colons of its own. */
function inUrl(address: string): string {
  return address.includes(":") ? `[${address}]` : address;
}
