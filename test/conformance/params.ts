// Parameters with which the conformance suites make each plugin: the defaults, where it has some, and
// those variants that run other code.

import { EXAMPLE } from "./contexts.ts";
import type { PluginKind } from "../../src/scheduler/plugin.ts";
import { pluginsOfKind } from "../../src/scheduler/registry.ts";

const EXAMPLES: Readonly<Record<string, readonly object[]>> = {
  "by-label": [{ label: EXAMPLE.label, validValues: ["a"], allowsNoLabel: true }],
  "concurrency-detector": [
    { maxConcurrency: 50 },
    { concurrencyMode: "hybrid", maxConcurrency: 50, maxTokenConcurrency: 500_000 },
  ],
  "endpoint-attribute-filter": [
    {
      attribute: EXAMPLE.attribute,
      fallbackOnEmpty: true,
      algorithm: { type: "threshold", threshold: { operator: "LessThan", value: 1_000 } },
    },
  ],
  "label-selector-filter": [
    { matchExpressions: [{ key: EXAMPLE.label, operator: "NotIn", values: ["a"] }] },
  ],
  "pool-sample-filter": [{ size: 2 }],
  "prefix-cache-affinity-filter": [
    { maxTTFTPenaltyMs: 100 },
    { ttftSource: "latencyPredictor", maxTTFTPenaltyMs: 100 },
  ],
  "session-affinity-filter": [
    {},
    { strategy: "session_id", sessionIdConfig: { sources: [{ header: EXAMPLE.header }] } },
  ],
  "multicluster-session-affinity-filter": [
    {},
    { strategy: "session_id", sessionIdConfig: { sources: [{ header: EXAMPLE.header }] } },
  ],
  "slo-headroom-tier-filter": [{ epsilonExploreNeg: 0 }, { epsilonExploreNeg: 1 }],
  "utilization-filter": [
    {
      conditions: [
        { metric: "active-requests", maxValue: 50 },
        { metric: "kv-cache-utilization", maxValue: 0.5 },
      ],
    },
  ],
  "active-request-scorer": [{}, { idleThreshold: 3, maxBusyScore: 0.5 }],
  "burst-prefix-cache-producer": [{}, { minColocateBlocks: 2, maxPerReplica: 1 }],
  "context-length-aware": [{}, { enableFiltering: true }],
  "endpoint-attribute-scorer": [
    { attributeKey: EXAMPLE.attribute, algorithm: { type: "linear_lower_is_better" } },
    {
      attributeKey: EXAMPLE.attribute,
      algorithm: {
        type: "linear_higher_is_better",
        normalization: { fixedRange: { min: 10, max: 1_000 } },
      },
    },
  ],
  "header-label-affinity-scorer": [{ headerName: EXAMPLE.header, labelKey: EXAMPLE.label }],
  "inflight-load-producer": [{}, { addEstimatedOutputTokens: true }],
  "latency-scorer": [
    {},
    { headroomSelectionStrategy: "most", ttftWeight: 0, tpotWeight: 0 },
    { latencyPredictionInfoProducerName: EXAMPLE.silentProducer },
  ],
  "predicted-latency-producer": [{}, { streamingMode: true }],
  "prefix-cache-scorer": [{}, { matchLengthWeight: 0.5, matchLengthScaleTokens: 512 }],
  "session-id-producer": [{ headerName: EXAMPLE.header }],
  "session-affinity-scorer": [
    { encodedEndpointHeaderConfig: { header: EXAMPLE.header } },
    { strategy: "session_id", sessionIdConfig: { sources: [{ header: EXAMPLE.header }] } },
  ],
};

export interface Example {
  /** Type, and the parameters where they are not the defaults. */
  readonly name: string;
  readonly type: string;
  readonly params: object;
}

export function examplesOf(kind: PluginKind): Example[] {
  return pluginsOfKind(kind).flatMap(({ type }) =>
    (EXAMPLES[type] ?? [{}]).map((params) => {
      const text = JSON.stringify(params);
      return { name: text === "{}" ? type : `${type} ${text}`, type, params };
    }),
  );
}
