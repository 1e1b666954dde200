// What a pool does whose endpoints have the roles of prefill and decode, and that configures nothing else.

/** Decode endpoints that the relay may walk. */
const DECODERS = 4;

/**
 * What endpoints hold is known as in DEFAULT_CONFIG. Prefill goes where it costs the least time. Decode goes by the requests in flight: of a prompt that is
 * computed elsewhere, a cached prefix saves only the way there. The decider splits what gains by it.
 * docs/decisions/036-predicted-split.md says why.
 */
export const DISAGGREGATED_CONFIG = {
  plugins: [
    {
      type: "disagg-profile-handler",
      parameters: { deciders: { prefill: "predicted-ttft-pd-decider" } },
    },
    { type: "predicted-ttft-pd-decider" },
    { type: "ejection-filter" },
    { type: "metrics-freshness-filter" },
    { type: "slow-start-filter" },
    { type: "prefill-filter" },
    { type: "decode-filter" },
    { type: "latency-cost-scorer" },
    { type: "active-request-scorer" },
    { type: "kv-cache-utilization-scorer" },
    { type: "precise-prefix-cache-producer", parameters: { speculativeIndexing: true } },
    {
      type: "prefix-cache-scorer",
      parameters: { prefixMatchInfoProducerName: "precise-prefix-cache-producer" },
    },
    { type: "max-score-picker", parameters: { maxNumOfEndpoints: DECODERS } },
  ],
  schedulingProfiles: [
    {
      name: "prefill",
      plugins: [
        { pluginRef: "prefill-filter" },
        { pluginRef: "ejection-filter" },
        { pluginRef: "metrics-freshness-filter" },
        { pluginRef: "slow-start-filter" },
        { pluginRef: "latency-cost-scorer", weight: 1 },
        { pluginRef: "max-score-picker" },
      ],
    },
    {
      name: "decode",
      plugins: [
        { pluginRef: "decode-filter" },
        { pluginRef: "ejection-filter" },
        { pluginRef: "metrics-freshness-filter" },
        { pluginRef: "slow-start-filter" },
        { pluginRef: "active-request-scorer", weight: 2 },
        { pluginRef: "kv-cache-utilization-scorer", weight: 1 },
        { pluginRef: "prefix-cache-scorer", weight: 1 },
        { pluginRef: "max-score-picker" },
      ],
    },
  ],
};
