// request-attribute-reporter: refused, because there is nothing here that it could report to.
//
// Source: llm-d-router pkg/epp/framework/plugins/requestcontrol/requestattributereporter. There it computes
// numbers from an answer's usage, with expressions of CEL, and hands them to Envoy as dynamic metadata for
// its rate limits and access logs. Here no proxy stands behind the router: usage is metered by the relay
// and limits are the pool's own. Taking the plugin and reporting nowhere would hide that the limits of
// whoever configured it do not hold.

import { z } from "zod";
import { defineRequestHeader } from "../../plugin.ts";

export const REFUSAL =
  "request-attribute-reporter reports to Envoy, which is not part of this router: remove the plugin; " +
  "usage is metered for each tenant without it";

export const requestAttributeReporter = defineRequestHeader({
  type: "request-attribute-reporter",
  params: z.record(z.string(), z.unknown()).refine(() => false, { error: REFUSAL }),
  create: () => ({}),
});
