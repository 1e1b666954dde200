// How requests are spread over pools.

import { z } from "zod";
import { wholeNumber } from "../scheduler/config/whole-number.ts";
import { schedulingIssues } from "./scheduling.ts";

/** `scheduler` is an EndpointPickerConfig over pools. */
export function routingSchema<Document extends z.ZodType>(scheduler: Document) {
  return z.strictObject({
    scheduler: checked(scheduler)
      .optional()
      .describe(
        "An EndpointPickerConfig whose endpoints are pools; llm-d's hub mode loads. Absent: by cost",
      ),
    sampleSize: wholeNumber(0, 256)
      .default(0)
      .describe("Pools that are looked at for one request, drawn anew each time; 0: all"),
    staleAfterMs: wholeNumber(1_000, 60_000)
      .default(3_000)
      .describe("A pool's word of this age counts as stale"),
    msPerUsd: z.number().min(0).max(1e9).default(0).describe("What a dollar is worth in waiting"),
    affinityMs: wholeNumber(0, 60_000)
      .default(25)
      .describe("How much worse a pool may be that a session or prefix is drawn to"),
    slowStartMs: wholeNumber(0, 600_000)
      .default(5_000)
      .describe("How long a pool that comes (back) takes to get its whole share"),
    retryPoolsMax: wholeNumber(1, 8).default(3).describe("Pools tried for one request"),
    hedge: z
      .strictObject({
        percentile: z
          .number()
          .min(0.5)
          .max(0.999)
          .default(0.95)
          .describe(
            "Of a pool's times to the first byte: one that takes longer is asked for elsewhere, too",
          ),
        minMs: wholeNumber(10, 600_000).default(200).describe("Never sooner than this"),
        budget: z.number().min(0).max(0.5).default(0.05).describe("Share of requests at most"),
      })
      .optional()
      .describe("Absent: nothing is asked for twice"),
  });
}

/** llm-d's plugins for this are all of stability Alpha: naming one is asking for it. */
function checked<Document extends z.ZodType>(scheduler: Document): Document {
  return scheduler.superRefine((document, context) => {
    if (typeof document !== "object" || document === null) return;
    if (Object.keys(document).length === 0) {
      const message = "expected a scheduling profile; leave `scheduler` out to choose by cost";
      context.addIssue({ code: "custom", message });
    }
    const written = { scheduler: document, allowExperimentalPlugins: true };
    for (const { path, message } of schedulingIssues(written))
      context.addIssue({ code: "custom", path: [...path], message });
  });
}
