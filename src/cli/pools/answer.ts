// What GET /admin/v1/pools and its drain answer, as far as it is shown.

import { z } from "zod";

const summarySchema = z.object({
  membership: z
    .object({ ageMs: z.number(), endpoints: z.number(), usable: z.number(), agents: z.number() })
    .optional(),
  load: z
    .object({
      ageMs: z.number(),
      saturation: z.number(),
      waitMs: z.number(),
      queued: z.number(),
      inFlightRequests: z.number(),
    })
    .optional(),
});

const poolSchema = z.object({
  pool: z.string(),
  region: z.string(),
  jurisdiction: z.string().optional(),
  models: z.array(z.string()),
  failoverTier: z.number(),
  /** Absent from a deployment of before: every pool has one object. */
  shards: z.number().optional(),
  /** Of this release or another: it is only shown. */
  state: z.string(),
  ageMs: z.number().nullable(),
  summary: summarySchema.nullable(),
});

export const poolsAnswerSchema = z.object({ pools: z.array(poolSchema) });

export type ShownPool = z.output<typeof poolSchema>;

export const drainAnswerSchema = z.object({
  drained: z.boolean(),
  changed: z.boolean(),
  notes: z.array(z.string()),
});
