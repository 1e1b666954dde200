// What llm-d does that is given no configuration.

/** Source: llm-d-router pkg/epp/config/loader/defaults.go, loadDefaultConfig. */
export const LLM_D_DEFAULT_CONFIG = {
  plugins: [
    { type: "queue-scorer" },
    { type: "kv-cache-utilization-scorer" },
    { type: "prefix-cache-scorer" },
    { type: "metrics-data-source" },
    { type: "core-metrics-extractor" },
  ],
  schedulingProfiles: [
    {
      name: "default",
      plugins: [
        { pluginRef: "queue-scorer", weight: 2 },
        { pluginRef: "kv-cache-utilization-scorer", weight: 2 },
        { pluginRef: "prefix-cache-scorer", weight: 3 },
      ],
    },
  ],
  dataLayer: {
    sources: [
      {
        pluginRef: "metrics-data-source",
        extractors: [{ pluginRef: "core-metrics-extractor" }],
      },
    ],
  },
};
