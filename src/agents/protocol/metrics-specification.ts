// What a collector is to read, as the object sends it in `configure`. The wire's form of the
// scheduler's MetricsSpecification (src/scheduler/data-layer/specification.ts says what each part
// means); durable/ translates. Keys that are not known are left out, so that an older agent reads what
// it understands of a newer object's specification; another `v` is not read at all.

import { z } from "zod";
import { PROTOCOL_LIMITS } from "./limits.ts";

const name = z.string().min(1).max(PROTOCOL_LIMITS.labelCharsMax);
const path = z.string().max(PROTOCOL_LIMITS.pathCharsMax);

/**
 * Where to read a field in an engine's Prometheus text: a series name, labels that must match,
 * and, for info metrics, the label that carries the value instead of the sample.
 */
export const metricSourceSchema = z.object({
  series: name,
  match: z.record(name, z.string()).optional(),
  valueLabel: name.optional(),
});
export type MetricSource = z.output<typeof metricSourceSchema>;

/** In order of preference: the first that is present counts. */
const sources = z.array(metricSourceSchema).max(PROTOCOL_LIMITS.metricSourcesMax);
const scalarSchema = z.object({
  /** Index in `scalars` of the specification. */
  key: z
    .int()
    .min(0)
    .max(PROTOCOL_LIMITS.scalarsMax - 1),
  sources,
});

const targetSchema = z.object({
  scheme: z.enum(["http", "https"]),
  path: path.nullable(),
  port: z.int().min(1).max(65_535).nullable(),
  host: z.enum(["endpoint", "node", "metrics"]),
  intervalMs: z.number().min(50).max(3_600_000).nullable(),
  tls: z.object({
    isVerified: z.boolean(),
    caCertPath: path.nullable(),
    clientCertPath: path.nullable(),
    clientKeyPath: path.nullable(),
  }),
});
export type WireTarget = z.output<typeof targetSchema>;

const engineSchema = z.object({
  name,
  path: path.nullable(),
  rankLabels: z.array(name).max(PROTOCOL_LIMITS.rankLabelsMax),
  waiting: sources,
  running: sources,
  kvUsage: sources,
  kvBlockSize: sources,
  kvBlocks: sources,
  processStart: sources,
  lora: z
    .object({
      source: metricSourceSchema,
      activeLabel: name,
      waitingLabel: name,
      maxLabel: name,
    })
    .nullable(),
  scalars: z.array(scalarSchema).max(PROTOCOL_LIMITS.scalarsMax),
});
export type WireEngine = z.output<typeof engineSchema>;

const exporterSchema = z.object({
  target: targetSchema,
  reads: z
    .array(
      scalarSchema.extend({
        combine: z.enum(["first", "max"]),
        scale: z.number(),
        ownLabel: name.nullable(),
      }),
    )
    .max(PROTOCOL_LIMITS.scalarsMax),
});
export type WireExporter = z.output<typeof exporterSchema>;

export const metricsSpecificationSchema = z.object({
  v: z.literal(1),
  engineLabels: z.array(name).max(4),
  defaultEngine: name,
  engines: z.array(engineSchema).max(PROTOCOL_LIMITS.enginesMax),
  metrics: targetSchema.nullable(),
  scalars: z.array(name).max(PROTOCOL_LIMITS.scalarsMax),
  exporters: z.array(exporterSchema).max(PROTOCOL_LIMITS.exportersMax),
  models: targetSchema.nullable(),
});
export type WireSpecification = z.output<typeof metricsSpecificationSchema>;

/**
 * The engine an endpoint runs, as its labels say; undefined if the specification has not even a
 * default. Collector and object agree by it on what is read of an endpoint.
 */
export function engineOf<Engine extends { readonly name: string }>(
  specification: {
    readonly engines: readonly Engine[];
    readonly engineLabels: readonly string[];
    readonly defaultEngine: string;
  },
  labels: Readonly<Record<string, string>>,
): Engine | undefined {
  const { engines, engineLabels, defaultEngine } = specification;
  const label = engineLabels.find((key) => (labels[key] ?? "") !== "");
  const named = label === undefined ? undefined : labels[label];
  return (
    engines.find(({ name }) => name === named) ?? engines.find(({ name }) => name === defaultEngine)
  );
}

/**
 * What the bits of a METRICS row's mask mean, lowest first, on a connection whose object speaks of a
 * specification; behind them stand the specification's scalars. `configure.metrics` lists the same
 * fields in the same order, for agents that do not read a specification.
 */
export const ROW_FIELDS = [
  "waiting",
  "running",
  "kv-usage",
  "kv-block-size",
  "kv-blocks",
  "process-start",
] as const;
export type RowField = (typeof ROW_FIELDS)[number];
/** The first so many of ROW_FIELDS are loads: one that goes missing makes the sample partial. */
export const LOAD_FIELD_COUNT = 3;
