// What a pool does that configures nothing.

/** Endpoints our default profile returns, for the relay to walk; llm-d's own default is 1. */
const DEFAULT_DESTINATIONS = 4;

/**
 * llm-d's optimized baseline (queue 2, KV cache utilization 2, prefix cache 3, no-hit LRU 2) behind
 * filters of ours: ejected endpoints, then those without a fresh sample, are left out while others
 * are there.
 */
export const DEFAULT_CONFIG = {
  plugins: [
    { type: "ejection-filter" },
    { type: "metrics-freshness-filter" },
    { type: "queue-scorer" },
    { type: "kv-cache-utilization-scorer" },
    { type: "prefix-cache-scorer" },
    { type: "no-hit-lru-scorer" },
    { type: "max-score-picker", parameters: { maxNumOfEndpoints: DEFAULT_DESTINATIONS } },
  ],
  schedulingProfiles: [
    {
      name: "default",
      plugins: [
        { pluginRef: "ejection-filter" },
        { pluginRef: "metrics-freshness-filter" },
        { pluginRef: "queue-scorer", weight: 2 },
        { pluginRef: "kv-cache-utilization-scorer", weight: 2 },
        { pluginRef: "prefix-cache-scorer", weight: 3 },
        { pluginRef: "no-hit-lru-scorer", weight: 2 },
        { pluginRef: "max-score-picker" },
      ],
    },
  ],
};
