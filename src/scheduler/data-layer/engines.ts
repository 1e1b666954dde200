// What the engines we know call things.
//
//   engine                waiting, running, KV usage       cache size
//   vllm                  gauges, a series a rank          labels of an info metric
//   sglang                gauges, a series a rank          labels of an info metric, or two gauges
//   trtllm-serve          gauges, at another path          two gauges
//   triton-tensorrt-llm   one metric, told apart by label  one metric, told apart by label
//   triton                waiting only                     none
//
// Source: llm-d-router pkg/epp/framework/plugins/datalayer/extractor/metrics/factories.go. SGLang
// publishes its page size as gauges since 0.5.11 and as an info metric before; llm-d's table has one
// of the two, we read both. Plain Triton: llm-d takes `nv_inference_exec_count` for the requests that
// run; it is a counter of all executions ever, by which the endpoint that runs longest looks busiest,
// so we leave it out. Whoever wants it names it in engineConfigs.

import type { MetricSource } from "./metric-spec.ts";
import type { EngineSpecification } from "./specification.ts";

/** Labels of an endpoint that name its engine, the newer first. */
export const ENGINE_LABELS = [
  "llm-d.ai/engine-type",
  "inference.networking.k8s.io/engine-type",
] as const;
export const DEFAULT_ENGINE = "vllm";

export const LORA_LABELS = {
  activeLabel: "running_lora_adapters",
  waitingLabel: "waiting_lora_adapters",
  maxLabel: "max_lora",
} as const;
/** Labels of an info metric about the cache, where a configuration names no others. */
export const CACHE_INFO_LABELS = { blockSize: "block_size", numBlocks: "num_gpu_blocks" } as const;

/** As Prometheus client libraries publish it, where they can. */
export const PROCESS_START: readonly MetricSource[] = [{ series: "process_start_time_seconds" }];

const gauge = (series: string): readonly MetricSource[] => [{ series }];

function cacheBlocks(type: string): readonly MetricSource[] {
  return [{ series: "nv_trt_llm_kv_cache_block_metrics", match: { kv_cache_block_type: type } }];
}

function requests(type: string): readonly MetricSource[] {
  return [{ series: "nv_trt_llm_request_metrics", match: { request_type: type } }];
}

const NOTHING = { kvUsage: [], kvBlockSize: [], kvBlocks: [], lora: null, scalars: [] } as const;

export const BUILT_IN_ENGINES: readonly EngineSpecification[] = [
  {
    ...NOTHING,
    name: "vllm",
    path: null,
    rankLabels: ["engine"],
    waiting: gauge("vllm:num_requests_waiting"),
    running: gauge("vllm:num_requests_running"),
    kvUsage: gauge("vllm:kv_cache_usage_perc"),
    kvBlockSize: [{ series: "vllm:cache_config_info", valueLabel: CACHE_INFO_LABELS.blockSize }],
    kvBlocks: [{ series: "vllm:cache_config_info", valueLabel: CACHE_INFO_LABELS.numBlocks }],
    processStart: PROCESS_START,
    lora: { source: { series: "vllm:lora_requests_info" }, ...LORA_LABELS },
  },
  {
    ...NOTHING,
    name: "sglang",
    path: null,
    rankLabels: ["dp_rank"],
    waiting: gauge("sglang:num_queue_reqs"),
    running: gauge("sglang:num_running_reqs"),
    kvUsage: gauge("sglang:token_usage"),
    kvBlockSize: [
      { series: "sglang:cache_config_info", valueLabel: "page_size" },
      { series: "sglang:page_size" },
    ],
    kvBlocks: [
      { series: "sglang:cache_config_info", valueLabel: "num_pages" },
      { series: "sglang:num_pages" },
    ],
    processStart: PROCESS_START,
  },
  {
    ...NOTHING,
    name: "trtllm-serve",
    path: "/prometheus/metrics",
    rankLabels: [],
    waiting: gauge("trtllm_num_requests_waiting"),
    running: gauge("trtllm_num_requests_running"),
    kvUsage: gauge("trtllm_kv_cache_utilization"),
    kvBlockSize: gauge("trtllm_kv_cache_tokens_per_block"),
    kvBlocks: gauge("trtllm_kv_cache_max_blocks"),
    processStart: PROCESS_START,
  },
  {
    ...NOTHING,
    name: "triton-tensorrt-llm",
    path: null,
    rankLabels: [],
    waiting: requests("waiting"),
    running: requests("scheduled"),
    kvUsage: cacheBlocks("fraction"),
    kvBlockSize: cacheBlocks("tokens_per"),
    kvBlocks: cacheBlocks("max"),
    processStart: PROCESS_START,
  },
  {
    ...NOTHING,
    name: "triton",
    path: null,
    rankLabels: [],
    waiting: gauge("nv_inference_pending_request_count"),
    running: [],
    processStart: PROCESS_START,
  },
];
