// The parts that lists, watch events and objects of the API server have in common. All are open: a newer
// server says more.

import { z } from "zod";

const texts = z.record(z.string(), z.string());

export const metadataSchema = z.object({
  name: z.string().min(1),
  deletionTimestamp: z.string().nullish(),
  labels: texts.nullish().transform((labels) => labels ?? {}),
  annotations: texts.nullish().transform((annotations) => annotations ?? {}),
});

export const namedSchema = z.object({ metadata: z.object({ name: z.string().min(1) }) });

/** Of a list: its version is what a watch goes on from. */
export const listSchema = z.object({
  metadata: z.object({ resourceVersion: z.string().min(1), continue: z.string().optional() }),
  items: z
    .array(z.unknown())
    .nullish()
    .transform((items) => items ?? []),
});

/** What every event but an error carries. */
export const watchedSchema = z.object({
  metadata: z.object({ name: z.string().optional(), resourceVersion: z.string().min(1) }),
});

export const eventSchema = z.object({ type: z.string(), object: z.unknown() });

/** A failure, as object of an ERROR event. */
export const statusSchema = z.object({
  code: z.number().optional(),
  reason: z.string().optional(),
  message: z.string().optional(),
});
