// What collectors are told to read: the pool's specification, and the same in the words of the release
// before, whose collectors know no specification.

import type {
  Configure,
  EngineType,
  MetricSource,
  MetricSpec,
} from "../agents/protocol/messages.ts";
import { ENGINE_TYPES } from "../agents/protocol/messages.ts";
import {
  LOAD_FIELD_COUNT,
  metricsSpecificationSchema,
  ROW_FIELDS,
  type RowField,
} from "../agents/protocol/metrics-specification.ts";
import type {
  EngineSpecification,
  MetricsSpecification,
} from "../scheduler/data-layer/specification.ts";

const FIELD_OF = {
  waiting: "waiting",
  running: "running",
  "kv-usage": "kvUsage",
  "kv-block-size": "kvBlockSize",
  "kv-blocks": "kvBlocks",
  "process-start": "processStart",
} as const satisfies Record<RowField, keyof EngineSpecification>;

/** The part of a `configure` that says what to read, for an agent that knows specifications or not. */
export function configureMetrics(
  specification: MetricsSpecification,
  knowsSpecifications: boolean,
): Pick<Configure, "metrics" | "specification"> {
  const metrics = plainMetrics(specification);
  if (!knowsSpecifications) return { metrics };
  // Configurations are checked for the wire's bounds; one that is not fit for it must not cost the
  // pool its collectors.
  const parsed = metricsSpecificationSchema.safeParse(specification);
  return parsed.success ? { metrics, specification: parsed.data } : { metrics };
}

/** Bit i of a METRICS row's mask is entry i: ROW_FIELDS, without the scalars behind them. */
function plainMetrics({ engines }: MetricsSpecification): MetricSpec[] {
  return ROW_FIELDS.map((field) => ({
    field,
    sources: Object.fromEntries(
      ENGINE_TYPES.flatMap((type) => {
        const engine = engines.find(({ name }) => name === type);
        const sources = engine === undefined ? [] : plainSources(type, engine, field);
        return sources.length === 0 ? [] : [[type, sources]];
      }),
    ),
  }));
}

function plainSources(
  type: EngineType,
  engine: EngineSpecification,
  field: RowField,
): MetricSource[] {
  return engine[FIELD_OF[field]].flatMap((source): MetricSource[] => {
    const isLabelled = source.valueLabel !== undefined || source.match?.["tp_rank"] !== undefined;
    const isLoad = ROW_FIELDS.indexOf(field) < LOAD_FIELD_COUNT;
    if (type !== "sglang" || isLabelled || !isLoad) return [source];
    // Its tensor-parallel ranks all report the same gauge; such a collector takes the one it is told.
    return [{ ...source, match: { ...source.match, tp_rank: "0" } }, source];
  });
}
