// always-disagg-pd-decider: always prefill on another endpoint.
//
// Source: llm-d-router pkg/epp/framework/plugins/scheduling/profilehandler/disagg. It pays for long
// prompts over a fast network: for short ones the transfer of blocks takes longer than their prefill.

import { z } from "zod";
import { defineDecider } from "../../plugin.ts";

export const alwaysDisaggPdDecider = defineDecider({
  type: "always-disagg-pd-decider",
  params: z.strictObject({}),
  create: () => ({ decide: () => true }),
});
