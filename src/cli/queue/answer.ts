// GET /admin/v1/pools/<pool>/queue as the CLI reads it. What a newer deployment adds is passed over.

import { z } from "zod";
import { shardsSchema } from "../answered-shards.ts";

const sizeSchema = z.object({ requests: z.number(), bytes: z.number(), tokens: z.number() });

const flowSchema = z.object({
  fairnessId: z.string(),
  weight: z.number(),
  waiting: z.number(),
  inFlight: z.number(),
  dispatched: z.number(),
  meanWaitMs: z.number(),
  tokensLately: z.number(),
});

const bandSchema = z.object({
  priority: z.number(),
  ceiling: z.number().nullable(),
  waiting: sizeSchema,
  limits: sizeSchema.partial(),
  oldestWaitMs: z.number(),
  dispatched: z.number(),
  waitSumMs: z.number(),
  waitMaxMs: z.number(),
  dropped: z.record(z.string(), z.number()),
  drainPerSecond: z.number().nullable(),
  jainIndex: z.number(),
  flowCount: z.number(),
  flows: z.array(flowSchema),
});

const queueSchema = z.object({
  /** JSON has no infinity: null is a pool that has no room at all. */
  saturation: z.number().nullable(),
  hasEndpoints: z.boolean(),
  waiting: sizeSchema,
  limits: sizeSchema.partial(),
  inFlight: z.number(),
  bands: z.array(bandSchema),
  openWaits: z.number(),
  places: z.number(),
  staleEndpoints: z.number(),
});

export const queueAnswerSchema = z.object({
  pool: z.string(),
  /** null: the pool has no flow control. */
  queue: queueSchema.nullable(),
  note: z.string().optional(),
  /** Of a pool of several objects. */
  shards: shardsSchema.optional(),
});

export type ShownQueue = z.output<typeof queueSchema>;
export type ShownBand = z.output<typeof bandSchema>;
export type ShownFlow = z.output<typeof flowSchema>;
