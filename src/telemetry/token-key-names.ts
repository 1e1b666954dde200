// Names of what is told of keys made of prompts' tokens, a part of METRIC.

import type { MetricDefinition } from "./metrics.ts";

export const TOKEN_KEY_METRIC = {
  tokenKeysTotal: {
    name: "fairlead_token_keys_total",
    kind: "counter",
    help: "Prompts to be tokenized before a decision, by how and by what became of it.",
    labels: ["by", "outcome"],
  },
  relayRendersTotal: {
    name: "fairlead_relay_renders_total",
    kind: "counter",
    help: "Prompts that the Worker asked to be rendered, by what became of it.",
    labels: ["outcome"],
  },
} as const satisfies Record<string, MetricDefinition>;
