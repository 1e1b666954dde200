// sheddable-eviction-filter: requests of negative priority may be ended for others.
//
// Source: llm-d-router pkg/epp/framework/plugins/flowcontrol/eviction/filtering. Not at work yet: flow
// control only checks and keeps its configuration.

import { z } from "zod";
import { defineFlowControl } from "../../plugin.ts";

export const sheddableEvictionFilter = defineFlowControl({
  type: "sheddable-eviction-filter",
  role: "eviction filter",
  stability: "alpha",
  params: z.strictObject({}),
  create: () => ({}),
});
