// The metrics of one engine, under vLLM's names, labels and buckets. Durations are wall time, that is
// virtual time times the time scale, because that is what a router sees.
//
// Source: vLLM vllm/v1/metrics/loggers.py.

import { MetricRegistry, type MetricDefinition, type MetricKind } from "../../telemetry/metrics.ts";
import type { Engine } from "./model/engine.ts";
import type { Sequence } from "./model/sequence.ts";

/** How sequences end, as vLLM labels them. */
const FINISHED_REASONS = ["stop", "length", "abort", "error"] as const;
export type FinishedReason = (typeof FINISHED_REASONS)[number];

const LABELS = ["model_name", "engine"] as const;
type EngineLabel = (typeof LABELS)[number];

const TTFT_SECONDS = [
  0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80,
  160, 640, 2560,
] as const;
const TOKEN_SECONDS = [
  0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80,
] as const;
const REQUEST_SECONDS = [
  0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680,
] as const;
const ITERATION_TOKENS = [1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384] as const;
const CHOICES = [1, 2, 5, 10, 20] as const;

function simple(
  name: string,
  kind: Exclude<MetricKind, "histogram">,
  help: string,
): MetricDefinition<EngineLabel> {
  return { name: `vllm:${name}`, kind, help, labels: LABELS };
}

function histogram(
  name: string,
  help: string,
  buckets: readonly number[],
): MetricDefinition<EngineLabel> {
  return { name: `vllm:${name}`, kind: "histogram", help, labels: LABELS, buckets };
}

const METRIC = {
  running: simple("num_requests_running", "gauge", "Requests in execution batches."),
  waiting: simple("num_requests_waiting", "gauge", "Requests waiting to be processed."),
  kvUsage: simple("kv_cache_usage_perc", "gauge", "KV cache usage. 1 means 100 percent."),
  prefixQueries: simple("prefix_cache_queries_total", "counter", "Tokens queried."),
  prefixHits: simple("prefix_cache_hits_total", "counter", "Tokens found in the prefix cache."),
  externalQueries: simple("external_prefix_cache_queries_total", "counter", "Tokens queried."),
  externalHits: simple("external_prefix_cache_hits_total", "counter", "Tokens other engines had."),
  preemptions: simple("num_preemptions_total", "counter", "Preemptions."),
  promptTokens: simple("prompt_tokens_total", "counter", "Prefill tokens processed."),
  promptTokensCached: simple("prompt_tokens_cached_total", "counter", "Cached prompt tokens."),
  generationTokens: simple("generation_tokens_total", "counter", "Generation tokens processed."),
  ttft: histogram("time_to_first_token_seconds", "Time to first token.", TTFT_SECONDS),
  interToken: histogram("inter_token_latency_seconds", "Inter-token latency.", TOKEN_SECONDS),
  perOutputToken: histogram(
    "request_time_per_output_token_seconds",
    "Time per output token of a request.",
    TOKEN_SECONDS,
  ),
  e2e: histogram("e2e_request_latency_seconds", "End-to-end latency.", REQUEST_SECONDS),
  queue: histogram("request_queue_time_seconds", "Time spent waiting.", REQUEST_SECONDS),
  inference: histogram("request_inference_time_seconds", "Time spent running.", REQUEST_SECONDS),
  prefill: histogram("request_prefill_time_seconds", "Time spent in prefill.", REQUEST_SECONDS),
  decode: histogram("request_decode_time_seconds", "Time spent in decode.", REQUEST_SECONDS),
  iterationTokens: histogram("iteration_tokens_total", "Tokens of a step.", ITERATION_TOKENS),
  choices: histogram("request_params_n", "The n request parameter.", CHOICES),
} as const;

const REQUEST_SUCCESS: MetricDefinition<EngineLabel | "finished_reason"> = {
  name: "vllm:request_success_total",
  kind: "counter",
  help: "Requests that ended, by reason.",
  labels: [...LABELS, "finished_reason"],
};

const CACHE_CONFIG: MetricDefinition<
  "block_size" | "num_gpu_blocks" | "cache_dtype" | "enable_prefix_caching" | "engine"
> = {
  name: "vllm:cache_config_info",
  kind: "gauge",
  help: "Information of the LLMEngine CacheConfig.",
  labels: ["block_size", "num_gpu_blocks", "cache_dtype", "enable_prefix_caching", "engine"],
};

/** As Prometheus client libraries publish it of their process. */
const PROCESS_START: MetricDefinition<never> = {
  name: "process_start_time_seconds",
  kind: "gauge",
  help: "Start time of the process since unix epoch in seconds.",
  labels: [],
};

/** The data-parallel rank: a simulated engine is a whole replica. */
const ENGINE_INDEX = "0";

/** What counts against each engine's own registry. Times it is given are virtual. */
export class EngineMetrics {
  readonly registry = new MetricRegistry();
  readonly #labels: Readonly<Record<EngineLabel, string>>;
  readonly #secondsPerMs: number;
  readonly #promptTokens: MetricDefinition<EngineLabel>;
  readonly #generationTokens: MetricDefinition<EngineLabel>;
  readonly #maxTokens: MetricDefinition<EngineLabel>;

  /** `model` is the label every series carries. */
  constructor(engine: Engine, model: string, timeScale: number) {
    const { config } = engine;
    this.#labels = { model_name: model, engine: ENGINE_INDEX };
    this.#secondsPerMs = timeScale / 1_000;
    const buckets = tokenBuckets(config.modelLengthMax);
    this.#promptTokens = histogram("request_prompt_tokens", "Prefill tokens.", buckets);
    this.#generationTokens = histogram("request_generation_tokens", "Output tokens.", buckets);
    this.#maxTokens = histogram("request_params_max_tokens", "The max_tokens parameter.", buckets);
    for (const definition of Object.values(METRIC)) {
      if (definition.kind === "counter") this.registry.inc(definition, this.#labels, 0);
    }
    for (const reason of FINISHED_REASONS) this.#ended(reason, 0);
    this.registry.set(
      CACHE_CONFIG,
      {
        block_size: String(config.blockSize),
        num_gpu_blocks: String(config.blockCount),
        cache_dtype: "auto",
        enable_prefix_caching: "True",
        engine: ENGINE_INDEX,
      },
      1,
    );
    this.registry.onRender(() => {
      this.registry.set(METRIC.running, this.#labels, engine.runningCount);
      this.registry.set(METRIC.waiting, this.#labels, engine.waitingCount);
      this.registry.set(METRIC.kvUsage, this.#labels, engine.cache.inUseCount / engine.cache.size);
    });
  }

  /** The engine came up at `atMs`, Unix time: a router tells by it that a cache is empty again. */
  started(atMs: number): void {
    this.registry.set(PROCESS_START, {}, atMs / 1_000);
  }

  requested(choiceCount: number, maxTokens: number | undefined): void {
    this.registry.observe(METRIC.choices, this.#labels, choiceCount);
    if (maxTokens !== undefined) this.registry.observe(this.#maxTokens, this.#labels, maxTokens);
  }

  scheduled(sequence: Sequence): void {
    this.registry.inc(METRIC.prefixQueries, this.#labels, sequence.promptCount);
    const { promptCount, cachedCount, receivedCount } = sequence;
    const isReceived = receivedCount > 0;
    const ownCount = isReceived ? promptCount - receivedCount : cachedCount;
    this.registry.inc(METRIC.prefixHits, this.#labels, ownCount);
    if (!isReceived) return;
    this.registry.inc(METRIC.externalQueries, this.#labels, receivedCount);
    this.registry.inc(METRIC.externalHits, this.#labels, receivedCount);
  }

  /** A token came at `atMs`, `sincePreviousMs` after the one before it. */
  token(sequence: Sequence, atMs: number, sincePreviousMs: number | undefined): void {
    this.registry.inc(METRIC.generationTokens, this.#labels);
    if (sincePreviousMs !== undefined) {
      this.#observeMs(METRIC.interToken, sincePreviousMs);
      return;
    }
    this.registry.inc(METRIC.promptTokens, this.#labels, sequence.promptCount);
    this.registry.inc(METRIC.promptTokensCached, this.#labels, sequence.cachedCount);
    this.#observeMs(METRIC.ttft, atMs - sequence.arrivedAtMs);
  }

  /** A sequence ended at `atMs`, however far it had come. */
  finished(sequence: Sequence, reason: FinishedReason, atMs: number): void {
    const { arrivedAtMs, firstScheduledAtMs, firstTokenAtMs, generatedCount } = sequence;
    this.#ended(reason);
    this.registry.observe(this.#promptTokens, this.#labels, sequence.promptCount);
    this.registry.observe(this.#generationTokens, this.#labels, generatedCount);
    this.#observeMs(METRIC.e2e, atMs - arrivedAtMs);
    if (firstScheduledAtMs === undefined || firstTokenAtMs === undefined) return;
    this.#observeMs(METRIC.queue, firstScheduledAtMs - arrivedAtMs);
    this.#observeMs(METRIC.prefill, firstTokenAtMs - firstScheduledAtMs);
    this.#observeMs(METRIC.decode, atMs - firstTokenAtMs);
    this.#observeMs(METRIC.inference, atMs - firstScheduledAtMs);
    if (generatedCount > 1) {
      this.#observeMs(METRIC.perOutputToken, (atMs - firstTokenAtMs) / (generatedCount - 1));
    }
  }

  preempted(): void {
    this.registry.inc(METRIC.preemptions, this.#labels);
  }

  stepped(tokenCount: number): void {
    this.registry.observe(METRIC.iterationTokens, this.#labels, tokenCount);
  }

  #ended(reason: FinishedReason, by = 1): void {
    this.registry.inc(REQUEST_SUCCESS, { ...this.#labels, finished_reason: reason }, by);
  }

  #observeMs(definition: MetricDefinition<EngineLabel>, durationMs: number): void {
    this.registry.observe(definition, this.#labels, durationMs * this.#secondsPerMs);
  }
}

/** 1, 2, 5, 10, 20, 50 … up to `max`. */
function tokenBuckets(max: number): number[] {
  const buckets: number[] = [];
  for (let decade = 1; decade <= max; decade *= 10) {
    for (const step of [1, 2, 5]) if (step * decade <= max) buckets.push(step * decade);
  }
  return buckets;
}
