// What a relay tells of a request's prefill, where that ran apart from decode.

import { z } from "zod";
import { hostPortSchema } from "./host-port.ts";
import { PROTOCOL_LIMITS } from "./limits.ts";

/** How a prefill at one endpoint ended. Closed set; also a metric label. */
export const PREFILL_OUTCOMES = [
  /** It answered, and the decoder was given what it said. */
  "ok",
  /** It answered without what the decoder needs, which then computes the prompt itself. */
  "no-parameters",
  /** 4xx but 429: the client got this answer, and nobody else was asked. */
  "refused",
  /** 429. */
  "overloaded",
  /** 502, 503, 504. */
  "unavailable",
  /** Another 5xx, or an answer that cannot be read. */
  "engine-error",
  "unreachable",
  "broken",
  /** No whole answer in time. */
  "timeout",
  /** The client left, the request was evicted, or the relay stopped. */
  "cancelled",
  /** It is not, or no longer, an endpoint that the relay has discovered: nothing was sent. */
  "off-list",
  /** The engines or the body cannot be split: nothing was sent. */
  "unsupported",
  /** The relay has no room for another body: nothing was sent. */
  "busy",
  /** The decoder held enough of the prompt to begin without it: nothing was sent. */
  "spared",
] as const;

const count = z.int().nonnegative().nullable();

/** An endpoint has done with a ticket's prefill, however it went: what was reserved there is free. */
export const ticketPrefilledSchema = z.strictObject({
  kind: z.literal("prefilled"),
  ticket: z.string().min(1).max(PROTOCOL_LIMITS.ticketCharsMax),
  attempt: z.int().nonnegative(),
  /** Address of the prefiller. */
  endpoint: hostPortSchema,
  outcome: z.enum(PREFILL_OUTCOMES),
  /** From the first byte sent to the last received, on the relay's clock. */
  durationMs: z.number().nonnegative(),
  /** As the prefiller counted; null where it said nothing. */
  promptTokens: count,
  cachedTokens: count,
  /**
   * Nobody else is asked to prefill: a decoder that still needs the prompt computes it. Absent where the relay
   * does not tell.
   */
  isLast: z.boolean().optional(),
});

/** What became of a request's split, in the report of its end. */
export const closedStagesSchema = z.strictObject({
  connector: z.string().min(1).max(64),
  /** The prefiller that served, or was tried last; null where none could be asked. */
  prefill: hostPortSchema.nullable(),
  outcome: z.enum(PREFILL_OUTCOMES),
  /** From the request's first prefill to the end of the last one. */
  prefillMs: z.number().nonnegative(),
  /** Prefillers that failed before `prefill`, in order. */
  failed: z.array(hostPortSchema).max(PROTOCOL_LIMITS.destinationsMax),
  /** The decoder computed the prompt itself, because no prefill came about or none could be used. */
  isDecodeOnly: z.boolean(),
  /** Blocks that nobody came for: they stay with the prefiller until their lease ends. */
  isStranded: z.boolean(),
});
