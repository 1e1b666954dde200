// Every plugin. Adding one means adding one line here.

import type { PluginDefinition, PluginKind } from "./plugin.ts";
import { latencySloAdmitter } from "./plugins/admitter/latency-slo-admitter.ts";
import { probabilisticAdmitter } from "./plugins/admitter/probabilistic-admitter.ts";
import { approxPrefixCacheProducer } from "./plugins/data-producer/approx-prefix-cache-producer.ts";
import { burstPrefixCacheProducer } from "./plugins/data-producer/burst-prefix-cache-producer.ts";
import { inflightLoadProducer } from "./plugins/data-producer/inflight-load-producer.ts";
import { mmEmbeddingsCacheProducer } from "./plugins/data-producer/mm-embeddings-cache-producer.ts";
import { multiclusterApproxPrefixCacheProducer } from "./plugins/data-producer/multicluster-approx-prefix-cache-producer.ts";
import { p2pSourceProducer } from "./plugins/data-producer/p2p-source-producer.ts";
import { precisePrefixCacheProducer } from "./plugins/data-producer/precise-prefix-cache-producer.ts";
import { predictedLatencyProducer } from "./plugins/data-producer/predicted-latency-producer.ts";
import { sessionIdProducer } from "./plugins/data-producer/session-id-producer.ts";
import { tokenProducer } from "./plugins/data-producer/token-producer.ts";
import { dcgmDataSource } from "./plugins/data-source/dcgm-data-source.ts";
import { endpointNotificationSource } from "./plugins/data-source/endpoint-notification-source.ts";
import { fileDiscovery } from "./plugins/data-source/file-discovery.ts";
import { k8sNotificationSource } from "./plugins/data-source/k8s-notification-source.ts";
import { metricsDataSource } from "./plugins/data-source/metrics-data-source.ts";
import { modelsDataSource } from "./plugins/data-source/models-data-source.ts";
import { multiclusterFileDiscovery } from "./plugins/data-source/multicluster-file-discovery.ts";
import { multiclusterMetricsDataSource } from "./plugins/data-source/multicluster-metrics-data-source.ts";
import { alwaysDisaggMultimodalDecider } from "./plugins/decider/always-disagg-multimodal-decider.ts";
import { alwaysDisaggPdDecider } from "./plugins/decider/always-disagg-pd-decider.ts";
import { predictedTtftPdDecider } from "./plugins/decider/predicted-ttft-pd-decider.ts";
import { prefixBasedPdDecider } from "./plugins/decider/prefix-based-pd-decider.ts";
import { coreMetricsExtractor } from "./plugins/extractor/core-metrics-extractor.ts";
import { dcgmExtractor } from "./plugins/extractor/dcgm-extractor.ts";
import { modelsDataExtractor } from "./plugins/extractor/models-data-extractor.ts";
import { multiclusterMetricsExtractor } from "./plugins/extractor/multicluster-metrics-extractor.ts";
import { topologyExtractor } from "./plugins/extractor/topology-extractor.ts";
import { byLabel } from "./plugins/filter/by-label.ts";
import { concurrencyDetector } from "./plugins/filter/concurrency-detector.ts";
import { decodeFilter } from "./plugins/filter/decode-filter.ts";
import { ejectionFilter } from "./plugins/filter/ejection-filter.ts";
import { encodeFilter } from "./plugins/filter/encode-filter.ts";
import { endpointAttributeFilter } from "./plugins/filter/endpoint-attribute-filter.ts";
import { headerBasedTestingFilter } from "./plugins/filter/header-based-testing-filter.ts";
import { labelSelectorFilter } from "./plugins/filter/label-selector-filter.ts";
import { metricsFreshnessFilter } from "./plugins/filter/metrics-freshness-filter.ts";
import { multiclusterSessionAffinityFilter } from "./plugins/filter/multicluster-session-affinity-filter.ts";
import { poolFailoverTierFilter } from "./plugins/filter/pool-failover-tier-filter.ts";
import { poolFreshnessFilter } from "./plugins/filter/pool-freshness-filter.ts";
import { poolModelFilter } from "./plugins/filter/pool-model-filter.ts";
import { poolProbeFilter } from "./plugins/filter/pool-probe-filter.ts";
import { poolSampleFilter } from "./plugins/filter/pool-sample-filter.ts";
import { poolSaturationFilter } from "./plugins/filter/pool-saturation-filter.ts";
import { poolSlowStartFilter } from "./plugins/filter/pool-slow-start-filter.ts";
import { poolStateFilter } from "./plugins/filter/pool-state-filter.ts";
import { prefillFilter } from "./plugins/filter/prefill-filter.ts";
import { prefixCacheAffinityFilter } from "./plugins/filter/prefix-cache-affinity-filter.ts";
import { sessionAffinityFilter } from "./plugins/filter/session-affinity-filter.ts";
import { slowStartFilter } from "./plugins/filter/slow-start-filter.ts";
import { sloHeadroomTierFilter } from "./plugins/filter/slo-headroom-tier-filter.ts";
import { topologyAffinityFilter } from "./plugins/filter/topology-affinity-filter.ts";
import { utilizationDetector } from "./plugins/filter/utilization-detector.ts";
import { utilizationFilter } from "./plugins/filter/utilization-filter.ts";
import { edfOrderingPolicy } from "./plugins/flow-control/edf-ordering-policy.ts";
import { fcfsOrderingPolicy } from "./plugins/flow-control/fcfs-ordering-policy.ts";
import { globalStrictFairnessPolicy } from "./plugins/flow-control/global-strict-fairness-policy.ts";
import { localityFairness } from "./plugins/flow-control/locality-fairness.ts";
import { predictedTtftDetector } from "./plugins/flow-control/predicted-ttft-detector.ts";
import { priorityHoldbackPolicy } from "./plugins/flow-control/priority-holdback-policy.ts";
import { priorityThenTimeEvictionOrderPolicy } from "./plugins/flow-control/priority-then-time-eviction-order-policy.ts";
import { programAwareFairness } from "./plugins/flow-control/program-aware-fairness.ts";
import { roundRobinFairnessPolicy } from "./plugins/flow-control/round-robin-fairness-policy.ts";
import { sheddableEvictionFilter } from "./plugins/flow-control/sheddable-eviction-filter.ts";
import { sloDeadlineOrderingPolicy } from "./plugins/flow-control/slo-deadline-ordering-policy.ts";
import { softReflectiveCeilingPolicy } from "./plugins/flow-control/soft-reflective-ceiling-policy.ts";
import { staticUsageLimitPolicy } from "./plugins/flow-control/static-usage-limit-policy.ts";
import { weightedTokenFairness } from "./plugins/flow-control/weighted-token-fairness.ts";
import { anthropicParser } from "./plugins/parser/anthropic-parser.ts";
import { openaiParser } from "./plugins/parser/openai-parser.ts";
import { passthroughParser } from "./plugins/parser/passthrough-parser.ts";
import { sglanghttpParser } from "./plugins/parser/sglanghttp-parser.ts";
import { vertexaiParser } from "./plugins/parser/vertexai-parser.ts";
import { vllmgrpcParser } from "./plugins/parser/vllmgrpc-parser.ts";
import { vllmhttpParser } from "./plugins/parser/vllmhttp-parser.ts";
import { maxScorePicker } from "./plugins/picker/max-score-picker.ts";
import { poolSpreadPicker } from "./plugins/picker/pool-spread-picker.ts";
import { randomPicker } from "./plugins/picker/random-picker.ts";
import { weightedRandomPicker } from "./plugins/picker/weighted-random-picker.ts";
import { dataParallelProfileHandler } from "./plugins/profile-handler/data-parallel-profile-handler.ts";
import { disaggProfileHandler } from "./plugins/profile-handler/disagg-profile-handler.ts";
import { headerProfileHandler } from "./plugins/profile-handler/header-profile-handler.ts";
import { pdProfileHandler } from "./plugins/profile-handler/pd-profile-handler.ts";
import { singleProfileHandler } from "./plugins/profile-handler/single-profile-handler.ts";
import { agentIdentity } from "./plugins/request-header/agent-identity.ts";
import { destinationEndpointServedVerifier } from "./plugins/request-header/destination-endpoint-served-verifier.ts";
import { disaggHeadersHandler } from "./plugins/request-header/disagg-headers-handler.ts";
import { prefillHeaderHandler } from "./plugins/request-header/prefill-header-handler.ts";
import { requestAttributeReporter } from "./plugins/request-header/request-attribute-reporter.ts";
import { activeRequestScorer } from "./plugins/scorer/active-request-scorer.ts";
import { contextLengthAware } from "./plugins/scorer/context-length-aware.ts";
import { endpointAttributeScorer } from "./plugins/scorer/endpoint-attribute-scorer.ts";
import { headerLabelAffinityScorer } from "./plugins/scorer/header-label-affinity-scorer.ts";
import { kvCacheUtilizationScorer } from "./plugins/scorer/kv-cache-utilization-scorer.ts";
import { latencyScorer } from "./plugins/scorer/latency-scorer.ts";
import { loadAwareScorer } from "./plugins/scorer/load-aware-scorer.ts";
import { loraAffinityScorer } from "./plugins/scorer/lora-affinity-scorer.ts";
import { mmEmbeddingsCacheScorer } from "./plugins/scorer/mm-embeddings-cache-scorer.ts";
import { multiclusterKvCacheUtilizationScorer } from "./plugins/scorer/multicluster-kv-cache-utilization-scorer.ts";
import { multiclusterPrefixCacheScorer } from "./plugins/scorer/multicluster-prefix-cache-scorer.ts";
import { multiclusterQueueScorer } from "./plugins/scorer/multicluster-queue-scorer.ts";
import { latencyCostScorer } from "./plugins/scorer/latency-cost-scorer.ts";
import { noHitLruScorer } from "./plugins/scorer/no-hit-lru-scorer.ts";
import { poolCostScorer } from "./plugins/scorer/pool-cost-scorer.ts";
import { precisePrefixCacheScorer } from "./plugins/scorer/precise-prefix-cache-scorer.ts";
import { prefixCacheScorer } from "./plugins/scorer/prefix-cache-scorer.ts";
import { queueScorer } from "./plugins/scorer/queue-scorer.ts";
import { runningRequestsSizeScorer } from "./plugins/scorer/running-requests-size-scorer.ts";
import { sessionAffinityScorer } from "./plugins/scorer/session-affinity-scorer.ts";
import { tokenLoadScorer } from "./plugins/scorer/token-load-scorer.ts";
import { topologyAffinityScorer } from "./plugins/scorer/topology-affinity-scorer.ts";
import { disaggregatedsetRolloutScreener } from "./plugins/screener/disaggregatedset-rollout-screener.ts";

/** In documentation order. */
export const PLUGINS = [
  // Filters
  ejectionFilter,
  slowStartFilter,
  metricsFreshnessFilter,
  labelSelectorFilter,
  byLabel,
  decodeFilter,
  prefillFilter,
  encodeFilter,
  utilizationFilter,
  endpointAttributeFilter,
  topologyAffinityFilter,
  prefixCacheAffinityFilter,
  sloHeadroomTierFilter,
  sessionAffinityFilter,
  multiclusterSessionAffinityFilter,
  utilizationDetector,
  concurrencyDetector,
  headerBasedTestingFilter,
  poolStateFilter,
  poolModelFilter,
  poolFailoverTierFilter,
  poolFreshnessFilter,
  poolSlowStartFilter,
  poolSaturationFilter,
  poolProbeFilter,
  poolSampleFilter,
  // Scorers
  queueScorer,
  kvCacheUtilizationScorer,
  prefixCacheScorer,
  precisePrefixCacheScorer,
  noHitLruScorer,
  latencyCostScorer,
  runningRequestsSizeScorer,
  loadAwareScorer,
  activeRequestScorer,
  tokenLoadScorer,
  loraAffinityScorer,
  sessionAffinityScorer,
  contextLengthAware,
  headerLabelAffinityScorer,
  endpointAttributeScorer,
  topologyAffinityScorer,
  mmEmbeddingsCacheScorer,
  latencyScorer,
  multiclusterQueueScorer,
  multiclusterKvCacheUtilizationScorer,
  multiclusterPrefixCacheScorer,
  poolCostScorer,
  // Pickers
  maxScorePicker,
  randomPicker,
  weightedRandomPicker,
  poolSpreadPicker,
  // Profile handlers
  singleProfileHandler,
  disaggProfileHandler,
  pdProfileHandler,
  dataParallelProfileHandler,
  headerProfileHandler,
  // Deciders
  alwaysDisaggPdDecider,
  predictedTtftPdDecider,
  prefixBasedPdDecider,
  alwaysDisaggMultimodalDecider,
  // Admitters
  latencySloAdmitter,
  probabilisticAdmitter,
  // Screeners
  disaggregatedsetRolloutScreener,
  // Data producers
  approxPrefixCacheProducer,
  inflightLoadProducer,
  tokenProducer,
  precisePrefixCacheProducer,
  multiclusterApproxPrefixCacheProducer,
  burstPrefixCacheProducer,
  predictedLatencyProducer,
  mmEmbeddingsCacheProducer,
  sessionIdProducer,
  p2pSourceProducer,
  // Request headers
  agentIdentity,
  disaggHeadersHandler,
  prefillHeaderHandler,
  destinationEndpointServedVerifier,
  requestAttributeReporter,
  // Data sources
  metricsDataSource,
  modelsDataSource,
  dcgmDataSource,
  multiclusterMetricsDataSource,
  k8sNotificationSource,
  endpointNotificationSource,
  fileDiscovery,
  multiclusterFileDiscovery,
  // Extractors
  coreMetricsExtractor,
  modelsDataExtractor,
  dcgmExtractor,
  topologyExtractor,
  multiclusterMetricsExtractor,
  // Parsers
  openaiParser,
  anthropicParser,
  vllmhttpParser,
  sglanghttpParser,
  vllmgrpcParser,
  vertexaiParser,
  passthroughParser,
  // Flow control
  weightedTokenFairness,
  localityFairness,
  globalStrictFairnessPolicy,
  roundRobinFairnessPolicy,
  programAwareFairness,
  fcfsOrderingPolicy,
  edfOrderingPolicy,
  sloDeadlineOrderingPolicy,
  staticUsageLimitPolicy,
  priorityHoldbackPolicy,
  softReflectiveCeilingPolicy,
  predictedTtftDetector,
  sheddableEvictionFilter,
  priorityThenTimeEvictionOrderPolicy,
] as const;

/** Any of them; parameters have been parsed by the definition's own schema before `create`. */
export type AnyPluginDefinition = PluginDefinition;

const byType = new Map<string, AnyPluginDefinition>();
for (const plugin of PLUGINS as readonly unknown[] as readonly AnyPluginDefinition[])
  for (const type of [plugin.type, ...(plugin.aliases ?? [])]) byType.set(type, plugin);

/** The definition of a type or of a deprecated alias; undefined for a type that is not registered. */
export function findPlugin(type: string): AnyPluginDefinition | undefined {
  return byType.get(type);
}

/** The definition of a type that a checked configuration names. */
export function pluginOf(type: string): AnyPluginDefinition {
  const plugin = findPlugin(type);
  if (plugin === undefined) throw new Error(`plugin type ${type} is not registered`);
  return plugin;
}

/** All plugins that are of a kind, in documentation order. */
export function pluginsOfKind(kind: PluginKind): AnyPluginDefinition[] {
  return (PLUGINS as readonly unknown[] as readonly AnyPluginDefinition[]).filter((plugin) =>
    plugin.kinds.includes(kind),
  );
}
