// sheddable-eviction-filter: requests of negative priority may be ended for others.
//
// Source: llm-d-router pkg/epp/framework/plugins/flowcontrol/eviction/filtering. Whatever a filter says, a
// request that has emitted a byte is ended for nobody; llm-d resets its stream.

import { z } from "zod";
import { defineEvictionFilter } from "../../plugin.ts";

export const sheddableEvictionFilter = defineEvictionFilter({
  type: "sheddable-eviction-filter",
  role: "eviction filter",
  stability: "alpha",
  params: z.strictObject({}),
  create: () => ({ mayEvict: ({ request }) => request.priority < 0 }),
});
