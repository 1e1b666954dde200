// Which Prometheus series carries which field, by engine. The object tells collectors, so that a new
// engine version needs a release of the object and not of every agent.
//
// Names: llm-d's built-in mapping (llm-d-router pkg/epp/.../extractor/metrics/factories.go), with the
// gauges that SGLang publishes since 0.5.11 in place of its info metric as second choice.

import type { EngineType, MetricField, MetricSource } from "../agents/protocol/messages.ts";

/** SGLang's tensor-parallel ranks all report the same gauge; one of them is enough. */
function sglang(series: string): MetricSource {
  return { series, match: { tp_rank: "0" } };
}

interface EngineMetric {
  readonly field: MetricField;
  readonly sources: Record<EngineType, MetricSource[]>;
}

/** Bit i of a METRICS row's mask is ENGINE_METRICS[i]. Only ever appended to. */
export const ENGINE_METRICS: readonly EngineMetric[] = [
  {
    field: "waiting",
    sources: {
      vllm: [{ series: "vllm:num_requests_waiting" }],
      sglang: [sglang("sglang:num_queue_reqs"), { series: "sglang:num_queue_reqs" }],
      "trtllm-serve": [{ series: "trtllm_num_requests_waiting" }],
    },
  },
  {
    field: "running",
    sources: {
      vllm: [{ series: "vllm:num_requests_running" }],
      sglang: [sglang("sglang:num_running_reqs"), { series: "sglang:num_running_reqs" }],
      "trtllm-serve": [{ series: "trtllm_num_requests_running" }],
    },
  },
  {
    field: "kv-usage",
    sources: {
      vllm: [{ series: "vllm:kv_cache_usage_perc" }],
      sglang: [sglang("sglang:token_usage"), { series: "sglang:token_usage" }],
      "trtllm-serve": [{ series: "trtllm_kv_cache_utilization" }],
    },
  },
  {
    field: "kv-block-size",
    sources: {
      vllm: [{ series: "vllm:cache_config_info", valueLabel: "block_size" }],
      sglang: [
        { series: "sglang:cache_config_info", valueLabel: "page_size" },
        { series: "sglang:page_size" },
      ],
      "trtllm-serve": [{ series: "trtllm_kv_cache_tokens_per_block" }],
    },
  },
  {
    field: "kv-blocks",
    sources: {
      vllm: [{ series: "vllm:cache_config_info", valueLabel: "num_gpu_blocks" }],
      sglang: [
        { series: "sglang:cache_config_info", valueLabel: "num_pages" },
        { series: "sglang:num_pages" },
      ],
      "trtllm-serve": [{ series: "trtllm_kv_cache_max_blocks" }],
    },
  },
];
