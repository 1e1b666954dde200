// disagg-headers-handler: nothing any more; the profile handler says which stages run.
//
// Source: llm-d-router pkg/epp/framework/plugins/scheduling/profilehandler/disagg/disagg_headers_handler.go,
// deprecated there since v0.9.0. It told the engines' side of the chosen prefill and encode endpoints,
// which is the relay's work here. Taken so that older configurations load.

import { z } from "zod";
import { defineRequestHeader } from "../../plugin.ts";

const params = z.strictObject({
  prefillProfile: z.string().default("prefill").describe("Without effect"),
  encodeProfile: z.string().default("encode").describe("Without effect"),
});

export const disaggHeadersHandler = defineRequestHeader({
  type: "disagg-headers-handler",
  deprecated: "Leave it out: disagg-profile-handler alone is enough.",
  params,
  create: () => ({}),
});
