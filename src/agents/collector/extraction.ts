// From a source's text to what the object asked for. Each part is read for itself: one that is broken
// or missing leaves the others as they are.

import type { Configure, EngineType } from "../protocol/messages.ts";
import {
  LOAD_FIELD_COUNT,
  type MetricSource,
  ROW_FIELDS,
  type WireEngine,
  type WireExporter,
} from "../protocol/metrics-specification.ts";
import {
  scanLatestLabels,
  scanPrometheus,
  type SeriesQuery,
} from "../../telemetry/prometheus-scanner.ts";
import { PROTOCOL_LIMITS } from "../protocol/limits.ts";

/** Adapters as an engine names them. */
export interface LoraReading {
  readonly active: readonly string[];
  readonly waiting: readonly string[];
  /** 0: unknown. */
  readonly max: number;
}

/** What one answer of an engine holds. */
export interface EngineReading {
  /** By field of a row; undefined where the engine has none. */
  readonly fields: readonly (number | undefined)[];
  readonly lora: LoraReading | undefined;
}
export type EngineExtraction = (text: string) => EngineReading;

/** By scalar; undefined where the text has none. */
export type ExporterExtraction = (text: string) => ReadonlyMap<number, number | undefined>;

/** By the specification: fields in the order of ROW_FIELDS, then `scalarCount` scalars. */
export function createEngineExtraction(engine: WireEngine, scalarCount: number): EngineExtraction {
  const { rankLabels, lora } = engine;
  const ranked = (combine: "sum" | "mean", sources: readonly MetricSource[]): SeriesQuery[] =>
    sources.map((source) => ({ ...source, combine, rankLabels }));
  const byField: Record<(typeof ROW_FIELDS)[number], readonly SeriesQuery[]> = {
    waiting: ranked("sum", engine.waiting),
    running: ranked("sum", engine.running),
    // Ranks of one process have caches of one size, so their mean is the use of all together.
    "kv-usage": ranked("mean", engine.kvUsage),
    "kv-block-size": engine.kvBlockSize,
    "kv-blocks": ranked("sum", engine.kvBlocks),
    "process-start": engine.processStart,
  };
  const scalars = Array.from(
    { length: scalarCount },
    (_, key) => engine.scalars.find((scalar) => scalar.key === key)?.sources ?? [],
  );
  const read = createReader([...ROW_FIELDS.map((field) => byField[field]), ...scalars]);
  return (text) => ({
    fields: read(text),
    lora: lora === null ? undefined : readLora(text, lora),
  });
}

/** By what an object says that knows no specification: fields in its own order, the first series each. */
export function createPlainExtraction(
  metrics: Configure["metrics"],
  engine: EngineType,
): EngineExtraction {
  const read = createReader(metrics.map(({ sources }) => sources[engine] ?? []));
  return (text) => ({ fields: read(text), lora: undefined });
}

/** `names`: what the endpoint is called in labels of others' metrics. */
export function createExporterExtraction(
  { reads }: WireExporter,
  names: readonly string[],
): ExporterExtraction {
  const read = createReader(
    reads.map(({ sources, combine, ownLabel }) => {
      const own = ownLabel === null ? undefined : { label: ownLabel, values: names };
      return sources.map((source) => ({ ...source, combine, own }));
    }),
  );
  return (text) => {
    const found = read(text);
    return new Map(
      reads.map(({ key, scale }, i) => {
        const value = (found[i] ?? Number.NaN) * scale;
        return [key, Number.isFinite(value) ? value : undefined];
      }),
    );
  };
}

/** How many of an engine's loads were read. */
export function loadMask(fields: readonly (number | undefined)[]): number {
  let mask = 0;
  for (let field = 0; field < LOAD_FIELD_COUNT; field++) {
    if (fields[field] !== undefined) mask |= 1 << field;
  }
  return mask;
}

/** Reads every field from its first source that is present, in one scan of the text. */
function createReader(
  fields: readonly (readonly SeriesQuery[])[],
): (text: string) => (number | undefined)[] {
  const queries = fields.flat();
  return (text) => {
    const found = scanPrometheus(text, queries);
    let next = 0;
    return fields.map((alternatives) => {
      const mine = found.slice(next, (next += alternatives.length));
      return mine.find((value) => value !== undefined);
    });
  };
}

function readLora(text: string, lora: NonNullable<WireEngine["lora"]>): LoraReading | undefined {
  const labels = scanLatestLabels(text, lora.source);
  if (labels === undefined) return undefined;
  const max = Number(labels.get(lora.maxLabel) ?? "0");
  return {
    active: splitNames(labels.get(lora.activeLabel)),
    waiting: splitNames(labels.get(lora.waitingLabel)),
    max: Number.isInteger(max) && max > 0 ? Math.min(max, 0xffff) : 0,
  };
}

function splitNames(list = ""): string[] {
  const names = list
    .split(",", PROTOCOL_LIMITS.modelsPerEndpointMax * 2)
    .map((name) => name.trim())
    .filter((name) => name !== "" && name.length <= PROTOCOL_LIMITS.labelCharsMax);
  return [...new Set(names)].slice(0, PROTOCOL_LIMITS.modelsPerEndpointMax);
}
