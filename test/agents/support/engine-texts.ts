// Metrics as engines publish them, shortened, and what is to be read of each: in the order of
// ROW_FIELDS, undefined for what the engine does not publish.

export interface EngineText {
  readonly engine: string;
  readonly path: string;
  readonly text: string;
  readonly fields: readonly (number | undefined)[];
}

/** vLLM 0.11, one engine. */
export const VLLM = `# HELP process_start_time_seconds Start time of the process since unix epoch in seconds.
# TYPE process_start_time_seconds gauge
process_start_time_seconds 1.79503112e+09
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="llama"} 3.0
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="llama"} 7.0
# TYPE vllm:num_requests_waiting_by_reason gauge
vllm:num_requests_waiting_by_reason{engine="0",model_name="llama",reason="capacity"} 99.0
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{engine="0",model_name="llama"} 0.25
# TYPE vllm:cache_config_info gauge
vllm:cache_config_info{block_size="16",cache_dtype="auto",engine="0",num_gpu_blocks="27407"} 1.0
# TYPE vllm:lora_requests_info gauge
vllm:lora_requests_info{max_lora="4",running_lora_adapters="sql",waiting_lora_adapters=""} 1.795e+09
vllm:lora_requests_info{max_lora="4",running_lora_adapters="chat, law",waiting_lora_adapters="sql"} 1.796e+09
vllm:lora_requests_info{max_lora="4",running_lora_adapters="",waiting_lora_adapters=""} 1.794e+09
# TYPE vllm:e2e_request_latency_seconds histogram
vllm:e2e_request_latency_seconds_bucket{engine="0",le="+Inf"} 5.0
vllm:e2e_request_latency_seconds_count{engine="0"} 5.0
`;

export const ENGINE_TEXTS: readonly EngineText[] = [
  {
    engine: "vllm",
    path: "/metrics",
    text: VLLM,
    fields: [7, 3, 0.25, 16, 27_407, 1_795_031_120],
  },
  {
    // 0.5.9: two tensor-parallel ranks, each with the numbers of the whole.
    engine: "sglang",
    path: "/metrics",
    text: `# TYPE sglang:num_running_reqs gauge
sglang:num_running_reqs{engine_type="unified",model_name="m",pp_rank="0",tp_rank="0"} 5.0
sglang:num_running_reqs{engine_type="unified",model_name="m",pp_rank="0",tp_rank="1"} 5.0
# TYPE sglang:num_queue_reqs gauge
sglang:num_queue_reqs{engine_type="unified",model_name="m",pp_rank="0",tp_rank="0"} 2.0
sglang:num_queue_reqs{engine_type="unified",model_name="m",pp_rank="0",tp_rank="1"} 2.0
# TYPE sglang:token_usage gauge
sglang:token_usage{engine_type="unified",model_name="m",pp_rank="0",tp_rank="0"} 0.5
# TYPE sglang:cache_config_info gauge
sglang:cache_config_info{num_pages="1000",page_size="64"} 1.0
`,
    fields: [2, 5, 0.5, 64, 1_000, undefined],
  },
  {
    // 0.5.11 publishes gauges; data-parallel ranks are told apart.
    engine: "sglang",
    path: "/metrics",
    text: `# TYPE sglang:num_running_reqs gauge
sglang:num_running_reqs{dp_rank="0",model_name="m",tp_rank="0"} 5.0
sglang:num_running_reqs{dp_rank="1",model_name="m",tp_rank="1"} 6.0
# TYPE sglang:num_queue_reqs gauge
sglang:num_queue_reqs{dp_rank="0",model_name="m",tp_rank="0"} 2.0
sglang:num_queue_reqs{dp_rank="1",model_name="m",tp_rank="1"} 0.0
# TYPE sglang:token_usage gauge
sglang:token_usage{dp_rank="0",model_name="m",tp_rank="0"} 0.5
sglang:token_usage{dp_rank="1",model_name="m",tp_rank="1"} 0.25
# TYPE sglang:page_size gauge
sglang:page_size{dp_rank="0",model_name="m",tp_rank="0"} 64.0
sglang:page_size{dp_rank="1",model_name="m",tp_rank="1"} 64.0
# TYPE sglang:num_pages gauge
sglang:num_pages{dp_rank="0",model_name="m",tp_rank="0"} 1000.0
sglang:num_pages{dp_rank="1",model_name="m",tp_rank="1"} 1000.0
`,
    fields: [2, 11, 0.375, 64, 2_000, undefined],
  },
  {
    engine: "trtllm-serve",
    path: "/prometheus/metrics",
    text: `# TYPE trtllm_num_requests_waiting gauge
trtllm_num_requests_waiting{engine_type="tensorrt_llm",model_name="m"} 1.0
# TYPE trtllm_num_requests_running gauge
trtllm_num_requests_running{engine_type="tensorrt_llm",model_name="m"} 9.0
# TYPE trtllm_kv_cache_utilization gauge
trtllm_kv_cache_utilization{engine_type="tensorrt_llm",model_name="m"} 0.75
# TYPE trtllm_kv_cache_tokens_per_block gauge
trtllm_kv_cache_tokens_per_block{engine_type="tensorrt_llm",model_name="m"} 32.0
# TYPE trtllm_kv_cache_max_blocks gauge
trtllm_kv_cache_max_blocks{engine_type="tensorrt_llm",model_name="m"} 4000.0
`,
    fields: [1, 9, 0.75, 32, 4_000, undefined],
  },
  {
    engine: "triton-tensorrt-llm",
    path: "/metrics",
    text: `# TYPE nv_trt_llm_request_metrics gauge
nv_trt_llm_request_metrics{model="m",request_type="context",version="1"} 1
nv_trt_llm_request_metrics{model="m",request_type="scheduled",version="1"} 4
nv_trt_llm_request_metrics{model="m",request_type="max",version="1"} 512
nv_trt_llm_request_metrics{model="m",request_type="waiting",version="1"} 6
# TYPE nv_trt_llm_kv_cache_block_metrics gauge
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="fraction",model="m",version="1"} 0.125
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="tokens_per",model="m",version="1"} 64
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="used",model="m",version="1"} 100
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="max",model="m",version="1"} 800
`,
    fields: [6, 4, 0.125, 64, 800, undefined],
  },
  {
    engine: "triton",
    path: "/metrics",
    text: `# TYPE nv_inference_pending_request_count gauge
nv_inference_pending_request_count{model="resnet",version="1"} 8
# TYPE nv_inference_exec_count counter
nv_inference_exec_count{model="resnet",version="1"} 123456
`,
    fields: [8, undefined, undefined, undefined, undefined, undefined],
  },
];

/** Two data-parallel ranks of vLLM behind one port. */
export const VLLM_TWO_RANKS = `# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="llama"} 3.0
vllm:num_requests_running{engine="1",model_name="llama"} 1.0
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="llama"} 0.0
vllm:num_requests_waiting{engine="1",model_name="llama"} 9.0
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{engine="0",model_name="llama"} 0.25
vllm:kv_cache_usage_perc{engine="1",model_name="llama"} 0.75
# TYPE vllm:cache_config_info gauge
vllm:cache_config_info{block_size="16",engine="0",num_gpu_blocks="1000"} 1.0
vllm:cache_config_info{block_size="16",engine="1",num_gpu_blocks="900"} 1.0
`;

/** A node's exporter: two GPUs of one pod, one of another. */
export const DCGM = `# TYPE DCGM_FI_DEV_GPU_UTIL gauge
DCGM_FI_DEV_GPU_UTIL{gpu="0",pod="vllm-0",namespace="default"} 35
DCGM_FI_DEV_GPU_UTIL{gpu="1",pod="vllm-0",namespace="default"} 80
DCGM_FI_DEV_GPU_UTIL{gpu="2",pod="vllm-1",namespace="default"} 99
`;
