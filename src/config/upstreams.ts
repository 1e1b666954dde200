// Upstreams of a pool that no Fairlead relay stands before: another router that picks its own endpoints,
// or an API. Each is one endpoint of its pool.

import { z } from "zod";
import { wholeNumber } from "../scheduler/config/whole-number.ts";
import { METRIC_SPEC_CHARS_MAX, parseMetricSpec } from "../scheduler/data-layer/metric-spec.ts";

export const UPSTREAM_LIMITS = { upstreamsPerPoolMax: 16, labelsMax: 32 } as const;

/** Objects and entrypoints, which answer to the Worker alone. */
const OWN_BINDINGS = /^(FAIRLEAD_.*|POOLS?(_.*)?|DIRECTORY|SETTINGS|CONTROL|MODEL_FILES|ASSETS)$/;

/** A binding of the Worker, such as a VPC service or an mTLS certificate, as wrangler.toml names it. */
const bindingName = z
  .string()
  .regex(
    /^[A-Z][A-Z0-9_]{0,62}$/,
    "expected the name of a binding: upper-case letters, digits and underscores",
  )
  .refine((name) => !OWN_BINDINGS.test(name), "is a binding of Fairlead's own");

/** `name` or `name{label=value}`; see scheduler/data-layer/metric-spec.ts. */
const metricSpec = z
  .string()
  .min(1)
  .max(METRIC_SPEC_CHARS_MAX)
  .superRefine((text, context) => {
    const parsed = parseMetricSpec(text);
    if (!parsed.ok) context.addIssue({ code: "custom", message: parsed.message });
  });

/** `secret` and `webUrl` are the deployment's. */
export function upstreamSchema<Secret extends z.ZodType, Url extends z.ZodType>(
  secret: Secret,
  webUrl: Url,
) {
  return z.strictObject({
    name: z
      .string()
      .regex(
        /^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$/,
        "expected lower-case letters, digits, dots and hyphens, 1 to 63 characters",
      ),
    kind: z
      .enum(["gateway", "openai", "fairlead"])
      .describe(
        "gateway: a router with an endpoint picker, such as llm-d's. openai: any API of that form. fairlead: another Fairlead",
      ),
    url: webUrl.describe(
      "Base URL; requests go to it with their own path, e.g. /v1/chat/completions: without /v1",
    ),
    apiKey: secret.optional().describe("Sent as a bearer token; clients' keys never are"),
    binding: bindingName
      .optional()
      .describe(
        "The Worker's binding that fetches it: Workers VPC, an mTLS certificate, a service",
      ),
    metrics: z
      .strictObject({
        url: webUrl.describe("Prometheus text of the router itself"),
        kvUsage: metricSpec.default("llm_d_epp_average_kv_cache_utilization"),
        queueSize: metricSpec.default("llm_d_epp_average_queue_size"),
        intervalMs: wholeNumber(200, 60_000).default(1_000),
        token: secret.optional().describe("Bearer token for reading them"),
      })
      .optional()
      .describe("Where its load is read; without it, only what is sent there is known"),
    labels: z
      .record(z.string().max(317), z.string().max(63))
      .default({})
      .describe("As an endpoint's, for filters and scorers"),
  });
}
