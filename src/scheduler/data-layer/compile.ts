// Data sources with their extractors, compiled to one specification.
//
// A source says where to ask, an extractor what to take from the answer: neither does anything here.
// Two extractors that write the same attribute key write the same column; the later one's source
// counts for both if both read it.

import { BUILT_IN_ENGINES, DEFAULT_ENGINE, ENGINE_LABELS } from "./engines.ts";
import {
  type EngineSpecification,
  type ExporterRead,
  type ExporterSpecification,
  type MetricsSpecification,
  type ScrapeTarget,
  SPECIFICATION_LIMITS,
} from "./specification.ts";

/** What a data source delivers, by which extractors know it. */
export type SourcePayload = "prometheus" | "models" | "events";

/** The instance of a data source. */
export interface DataSource {
  readonly payload: SourcePayload;
  /** Where it is asked; null where events come of themselves. */
  readonly target: ScrapeTarget | null;
}

/** The instance of an extractor. */
export interface Extractor {
  readonly reads: SourcePayload;
  /** Adds what it reads from the answers of `source`, whose payload is `reads`. */
  contribute(builder: SpecificationBuilder, source: DataSource): void;
}

/** Endpoints that come and go, with their labels: what `endpoint-notification-source` stands for. */
export const ENDPOINT_EVENTS: DataSource = { payload: "events", target: null };

export interface SourceBinding {
  /** Names of the instances, for messages. */
  readonly name: string;
  readonly source: DataSource;
  readonly extractors: readonly { readonly name: string; readonly extractor: Extractor }[];
}

/** The endpoints' labels that say where they are, from near to far. */
export interface TopologyLabelNames {
  readonly hostname: string;
  readonly rack: string;
  readonly zone: string;
  readonly region: string;
}

export interface CompiledSpecification {
  readonly specification: MetricsSpecification;
  /** null: the usual ones. Not the collectors' business: labels come with the endpoints. */
  readonly topology: TopologyLabelNames | null;
  /** Sentences for people; empty if all is well. */
  readonly problems: readonly string[];
}

/** Collects what extractors contribute. */
export class SpecificationBuilder {
  readonly problems: string[] = [];
  readonly #scalars: string[] = [];
  readonly #exporters: ExporterSpecification[] = [];
  #engines: EngineSpecification[] = [];
  #engineLabels: readonly string[] = ENGINE_LABELS;
  #defaultEngine: string = DEFAULT_ENGINE;
  #metrics: ScrapeTarget | null = null;
  #models: ScrapeTarget | null = null;
  #topology: TopologyLabelNames | null = null;

  /** The row place of an attribute key; undefined, and a problem, when there are too many. */
  scalar(attributeKey: string): number | undefined {
    const known = this.#scalars.indexOf(attributeKey);
    if (known !== -1) return known;
    if (this.#scalars.length >= SPECIFICATION_LIMITS.scalarsMax) {
      const max = SPECIFICATION_LIMITS.scalarsMax;
      this.problems.push(`${attributeKey}: a pool has at most ${max} attributes of this kind`);
      return undefined;
    }
    return this.#scalars.push(attributeKey) - 1;
  }

  /** Engines whose own metrics are read. Said once; a second time is a problem. */
  engines(
    target: ScrapeTarget,
    spec: Pick<MetricsSpecification, "engineLabels" | "defaultEngine" | "engines">,
  ): void {
    if (this.#metrics !== null) {
      this.problems.push("the engines' metrics are read by two extractors; one is allowed");
      return;
    }
    this.#metrics = target;
    this.#engines = spec.engines.slice(0, SPECIFICATION_LIMITS.enginesMax);
    if (spec.engines.length > SPECIFICATION_LIMITS.enginesMax) {
      this.problems.push(`over ${SPECIFICATION_LIMITS.enginesMax} engines`);
    }
    this.#engineLabels = spec.engineLabels;
    this.#defaultEngine = spec.defaultEngine;
  }

  exporter(target: ScrapeTarget, reads: readonly ExporterRead[]): void {
    if (this.#exporters.length >= SPECIFICATION_LIMITS.exportersMax) {
      this.problems.push(`over ${SPECIFICATION_LIMITS.exportersMax} sources besides the engines`);
      return;
    }
    this.#exporters.push({ target, reads });
  }

  models(target: ScrapeTarget): void {
    this.#models = target;
  }

  topology(labels: TopologyLabelNames): void {
    this.#topology = labels;
  }

  build(): CompiledSpecification {
    const specification: MetricsSpecification = {
      v: 1,
      engineLabels: this.#engineLabels,
      defaultEngine: this.#defaultEngine,
      engines: this.#engines,
      metrics: this.#metrics,
      scalars: this.#scalars,
      exporters: this.#exporters,
      models: this.#models,
    };
    if (JSON.stringify(specification).length > SPECIFICATION_LIMITS.charsMax) {
      this.problems.push(`over ${SPECIFICATION_LIMITS.charsMax} characters of metric names`);
    }
    return { specification, topology: this.#topology, problems: this.problems };
  }
}

/** What collectors read for a pool with these sources. */
export function compileMetricsSpecification(
  bindings: readonly SourceBinding[],
): CompiledSpecification {
  const builder = new SpecificationBuilder();
  for (const { name, source, extractors } of bindings) {
    for (const { name: extractorName, extractor } of extractors) {
      if (extractor.reads === source.payload) extractor.contribute(builder, source);
      else {
        builder.problems.push(
          `${extractorName} reads ${extractor.reads}, and ${name} delivers ${source.payload}`,
        );
      }
    }
  }
  return builder.build();
}

/** How llm-d asks, unless a configuration says otherwise: no certificate is looked at. */
export const DEFAULT_TARGET: ScrapeTarget = {
  scheme: "http",
  path: null,
  port: null,
  host: "endpoint",
  intervalMs: null,
  tls: { isVerified: false, caCertPath: null, clientCertPath: null, clientKeyPath: null },
};

/** The built-in engines' own metrics, and nothing else: what a pool reads that configures nothing. */
export const DEFAULT_SPECIFICATION: MetricsSpecification = {
  v: 1,
  engineLabels: ENGINE_LABELS,
  defaultEngine: DEFAULT_ENGINE,
  engines: BUILT_IN_ENGINES,
  metrics: DEFAULT_TARGET,
  scalars: [],
  exporters: [],
  models: null,
};
