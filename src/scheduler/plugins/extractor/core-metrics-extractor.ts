// core-metrics-extractor: queue, running requests, KV usage, adapters and cache size of engines.
//
//   field             parameter of an engine                  default (vllm)
//   queue             queuedRequestsSpec                      vllm:num_requests_waiting
//   running           runningRequestsSpec                     vllm:num_requests_running
//   KV usage          kvUsageSpec                             vllm:kv_cache_usage_perc
//   adapters          loraSpec                                vllm:lora_requests_info
//   cache size        cacheInfoSpec and its two label names   vllm:cache_config_info
//                     or cacheBlockSizeSpec, cacheNumBlocksSpec
//   scalars           customMetrics                           none
//
// Engines that are not configured are read as ../../data-layer/engines.ts says. An endpoint is read
// as the engine that its label names, then that of the legacy label, else as `defaultEngine`.
//
// Source: llm-d-router pkg/epp/framework/plugins/datalayer/extractor/metrics. It differs where llm-d's
// own is wrong: data-parallel ranks of one process are added up instead of the first standing for all,
// and a sample without a load that was there before does not count as fresh. An engine of a name that
// is not built in is read as llm-d reads it, its first series only. An attribute key that two engines
// give to different metrics is one column.

import { z } from "zod";
import type { SpecificationBuilder } from "../../data-layer/compile.ts";
import {
  BUILT_IN_ENGINES,
  CACHE_INFO_LABELS,
  DEFAULT_ENGINE,
  ENGINE_LABELS,
  LORA_LABELS,
  PROCESS_START,
} from "../../data-layer/engines.ts";
import { type MetricSource, parseMetricSpec } from "../../data-layer/metric-spec.ts";
import {
  type EngineSpecification,
  type ScalarSource,
  SPECIFICATION_LIMITS,
} from "../../data-layer/specification.ts";
import { defineExtractor } from "../../plugin.ts";

const BUILT_IN = BUILT_IN_ENGINES.map(({ name }) => name);
const { enginesMax, scalarsMax, nameCharsMax, metricSpecCharsMax } = SPECIFICATION_LIMITS;
/** The name under which llm-d keeps the default engine. */
const RESERVED_NAME = "default";

const metricSpec = z
  .string()
  .max(metricSpecCharsMax)
  .superRefine((text, context) => {
    const parsed = text === "" ? undefined : parseMetricSpec(text);
    if (parsed?.ok === false) context.addIssue({ code: "custom", message: parsed.message });
  });
const optionalSpec = metricSpec.default("");
const labelName = z.string().max(nameCharsMax).default("");

const customMetric = z.strictObject({
  attributeKey: z.string().min(1).max(nameCharsMax).describe("Name of the number for plugins"),
  metricSpec: metricSpec.min(1).describe("Where it stands, name{label=value}"),
});

const engineConfig = z.strictObject({
  name: z
    .string()
    .min(1, "an engine's name cannot be empty")
    .max(nameCharsMax)
    .refine((name) => name !== RESERVED_NAME, `"${RESERVED_NAME}" is reserved`),
  queuedRequestsSpec: optionalSpec,
  runningRequestsSpec: optionalSpec,
  kvUsageSpec: optionalSpec,
  loraSpec: optionalSpec,
  cacheInfoSpec: optionalSpec,
  cacheBlockSizeLabelName: labelName.describe("Label of cacheInfoSpec; block_size where empty"),
  cacheNumBlocksLabelName: labelName.describe("Label of cacheInfoSpec; num_gpu_blocks where empty"),
  cacheBlockSizeSpec: optionalSpec,
  cacheNumBlocksSpec: optionalSpec,
  customMetrics: z.array(customMetric).max(scalarsMax).default([]),
});
type EngineConfig = z.output<typeof engineConfig>;

const params = z
  .strictObject({
    engineLabelKey: z
      .string()
      .max(nameCharsMax)
      .default(ENGINE_LABELS[0])
      .describe("Label of an endpoint that names its engine"),
    defaultEngine: z
      .string()
      .max(nameCharsMax)
      .default(DEFAULT_ENGINE)
      .describe("For endpoints without that label"),
    engineConfigs: z
      .array(engineConfig)
      .max(enginesMax - BUILT_IN_ENGINES.length)
      .default([])
      .describe("Engines that are not built in, or are to be read otherwise"),
  })
  .superRefine(({ defaultEngine, engineConfigs }, context) => {
    const names = engineConfigs.map(({ name }) => name);
    names.forEach((name, i) => {
      if (names.indexOf(name) === i) return;
      context.addIssue({
        code: "custom",
        path: ["engineConfigs", i, "name"],
        message: "is configured twice",
      });
    });
    const known = [...names, ...BUILT_IN];
    if (defaultEngine === "" || known.includes(defaultEngine)) return;
    context.addIssue({
      code: "custom",
      path: ["defaultEngine"],
      message: `no engine has this name; there are ${BUILT_IN.join(", ")} and those of engineConfigs`,
    });
  });

export const coreMetricsExtractor = defineExtractor({
  type: "core-metrics-extractor",
  params,
  create: ({ engineLabelKey, defaultEngine, engineConfigs }) => ({
    reads: "prometheus",
    contribute(builder, { target }) {
      if (target === null) return;
      const configured = engineConfigs.map((config) => toEngine(config, builder));
      const builtIn = BUILT_IN_ENGINES.filter(
        ({ name }) => !configured.some((engine) => engine.name === name),
      );
      const label = engineLabelKey === "" ? ENGINE_LABELS[0] : engineLabelKey;
      builder.engines(target, {
        engineLabels: [...new Set([label, ENGINE_LABELS[1]])],
        defaultEngine: defaultEngine === "" ? DEFAULT_ENGINE : defaultEngine,
        engines: [...configured, ...builtIn],
      });
    },
  }),
});

function toEngine(config: EngineConfig, builder: SpecificationBuilder): EngineSpecification {
  const builtIn = BUILT_IN_ENGINES.find(({ name }) => name === config.name);
  const { cacheInfoSpec, cacheBlockSizeLabelName, cacheNumBlocksLabelName } = config;
  const blockSizeLabel = cacheBlockSizeLabelName || CACHE_INFO_LABELS.blockSize;
  const numBlocksLabel = cacheNumBlocksLabelName || CACHE_INFO_LABELS.numBlocks;
  const [lora] = sourcesOf(config.loraSpec);
  return {
    name: config.name,
    path: builtIn?.path ?? null,
    rankLabels: builtIn?.rankLabels ?? [],
    waiting: sourcesOf(config.queuedRequestsSpec),
    running: sourcesOf(config.runningRequestsSpec),
    kvUsage: sourcesOf(config.kvUsageSpec),
    kvBlockSize: [
      ...sourcesOf(cacheInfoSpec, blockSizeLabel),
      ...sourcesOf(config.cacheBlockSizeSpec),
    ],
    kvBlocks: [
      ...sourcesOf(cacheInfoSpec, numBlocksLabel),
      ...sourcesOf(config.cacheNumBlocksSpec),
    ],
    processStart: PROCESS_START,
    lora: lora === undefined ? null : { source: lora, ...LORA_LABELS },
    scalars: config.customMetrics.flatMap((custom): ScalarSource[] => {
      const key = builder.scalar(custom.attributeKey);
      return key === undefined ? [] : [{ key, sources: sourcesOf(custom.metricSpec) }];
    }),
  };
}

/** The metric that a checked parameter names, if it names one. */
function sourcesOf(text: string, valueLabel?: string): MetricSource[] {
  const parsed = text === "" ? undefined : parseMetricSpec(text);
  if (parsed?.ok !== true) return [];
  return [valueLabel === undefined ? parsed.source : { ...parsed.source, valueLabel }];
}
