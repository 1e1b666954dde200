// What is to be read of every endpoint, and where: compiled from the data sources and extractors of a
// configuration, sent to the collectors, which do the reading. Plain values.

import { METRIC_NAME_CHARS_MAX, METRIC_SPEC_CHARS_MAX, type MetricSource } from "./metric-spec.ts";

export const SPECIFICATION_LIMITS = {
  enginesMax: 16,
  /** Places one field may stand in, in order of preference. */
  sourcesMax: 4,
  rankLabelsMax: 4,
  /** Attribute keys; a row of the wire has room for no more, and so has SCALARS_MAX. */
  scalarsMax: 8,
  /** Sources besides the engines' own metrics and model lists. */
  exportersMax: 4,
  nameCharsMax: METRIC_NAME_CHARS_MAX,
  pathCharsMax: 1_024,
  metricSpecCharsMax: METRIC_SPEC_CHARS_MAX,
  intervalMsMin: 50,
  intervalMsMax: 3_600_000,
  /** As JSON: it travels in one control message of at most 64 KiB. */
  charsMax: 32 * 1024,
} as const;

export interface TlsSettings {
  /** False: any certificate will do. */
  readonly isVerified: boolean;
  /** Files on the collector's machine; null for none. */
  readonly caCertPath: string | null;
  readonly clientCertPath: string | null;
  readonly clientKeyPath: string | null;
}

/** Where a source is asked. */
export interface ScrapeTarget {
  readonly scheme: "http" | "https";
  /** null: `/metrics`, or the path that the engine is known for. */
  readonly path: string | null;
  /** null: the endpoint's own. */
  readonly port: number | null;
  /**
   * `endpoint`: the endpoint's own host. `node`: its label `nodeAddress`, `metrics`: its labels
   * `metricsAddress` and `metricsPort`; the endpoint's own where it has no such label.
   */
  readonly host: "endpoint" | "node" | "metrics";
  /** null: as often as the pool's configuration says. */
  readonly intervalMs: number | null;
  readonly tls: TlsSettings;
}

/** The info metric that names an engine's adapters. Of several series the largest value counts. */
export interface LoraSource {
  readonly source: MetricSource;
  /** Labels with comma-separated names, and with a number. */
  readonly activeLabel: string;
  readonly waitingLabel: string;
  readonly maxLabel: string;
}

/** A scalar's place in `MetricsSpecification.scalars`, and where it stands. */
export interface ScalarSource {
  readonly key: number;
  readonly sources: readonly MetricSource[];
}

/** What an engine calls things. A field it does not publish has no source. */
export interface EngineSpecification {
  readonly name: string;
  /** null: `/metrics`. */
  readonly path: string | null;
  /**
   * Labels that tell data-parallel ranks of one process apart. Counts of ranks are added up and
   * usages averaged; without such a label one series stands for the process, as in llm-d.
   */
  readonly rankLabels: readonly string[];
  readonly waiting: readonly MetricSource[];
  readonly running: readonly MetricSource[];
  readonly kvUsage: readonly MetricSource[];
  readonly kvBlockSize: readonly MetricSource[];
  readonly kvBlocks: readonly MetricSource[];
  readonly processStart: readonly MetricSource[];
  readonly lora: LoraSource | null;
  readonly scalars: readonly ScalarSource[];
}

export interface ExporterRead extends ScalarSource {
  readonly combine: "first" | "max";
  /** The value is multiplied by it. */
  readonly scale: number;
  /** A series with this label counts only where it names the endpoint; null: every series counts. */
  readonly ownLabel: string | null;
}

/** Prometheus text of another process than the engine. */
export interface ExporterSpecification {
  readonly target: ScrapeTarget;
  readonly reads: readonly ExporterRead[];
}

export interface MetricsSpecification {
  /** Of this format. */
  readonly v: 1;
  /** Labels of an endpoint that name its engine; the first that is there counts. */
  readonly engineLabels: readonly string[];
  /** For endpoints without such a label, or whose engine is not in `engines`. */
  readonly defaultEngine: string;
  readonly engines: readonly EngineSpecification[];
  /** null: engines' metrics are not read. */
  readonly metrics: ScrapeTarget | null;
  /** Attribute keys, in the order of the wire's rows. */
  readonly scalars: readonly string[];
  readonly exporters: readonly ExporterSpecification[];
  /** Where the list of models is asked for; null: nowhere. */
  readonly models: ScrapeTarget | null;
}
