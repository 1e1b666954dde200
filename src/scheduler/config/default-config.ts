// What a pool does that configures nothing.

/** Endpoints our default profile returns, for the relay to walk; llm-d's own default is 1. */
const DEFAULT_DESTINATIONS = 4;

/**
 * What endpoints hold is known by their engines' events where collectors read these, and else by where
 * prompts were sent; docs/decisions/032-predicted-and-reported.md says what makes the first good enough. A
 * prompt counts as cached where it was just sent: events come when it has been computed.
 *
 * One cost in milliseconds, behind filters of ours: ejected endpoints, then those without a fresh
 * sample, are left out while others are there, and those that have just come get their share by and by.
 * docs/decisions/017-latency-cost.md says why.
 */
export const DEFAULT_CONFIG = {
  plugins: [
    { type: "precise-prefix-cache-producer", parameters: { speculativeIndexing: true } },
    { type: "ejection-filter" },
    { type: "metrics-freshness-filter" },
    { type: "slow-start-filter" },
    { type: "latency-cost-scorer" },
    { type: "max-score-picker", parameters: { maxNumOfEndpoints: DEFAULT_DESTINATIONS } },
  ],
  schedulingProfiles: [
    {
      name: "default",
      plugins: [
        { pluginRef: "ejection-filter" },
        { pluginRef: "metrics-freshness-filter" },
        { pluginRef: "slow-start-filter" },
        { pluginRef: "latency-cost-scorer", weight: 1 },
        { pluginRef: "max-score-picker" },
      ],
    },
  ],
};
