// The JSON messages between agents and a PoolObject, and the JSON payloads of some frames.
// Order of a connection: agent sends `hello`; object answers `welcome` and `configure`, or `refused`
// and closes. Then the agent sends binary frames (codec.ts), and the object sends `ack`, `resync`,
// `evict`, `kv-send`, `kv-stop`, `kv-credit` and further `configure` messages. See docs/protocol.md.

import { z } from "zod";
import { hostPortSchema } from "./host-port.ts";
import { PROTOCOL_LIMITS } from "./limits.ts";
import {
  type MetricSource,
  metricSourceSchema,
  metricsSpecificationSchema,
} from "./metrics-specification.ts";
export { hostPortSchema, type MetricSource };
import { closedStagesSchema, ticketPrefilledSchema } from "./stage-reports.ts";
import { PROTOCOL_VERSION, PROTOCOL_VERSION_MIN } from "./version.ts";

const name = z.string().min(1).max(PROTOCOL_LIMITS.labelCharsMax);

export const ENGINE_TYPES = ["vllm", "sglang", "trtllm-serve"] as const;
export type EngineType = (typeof ENGINE_TYPES)[number];

/** One model server replica, or one data-parallel rank of it, as its agent found it. */
export const endpointSchema = z.strictObject({
  /** Unique in the pool, stable across restarts of the engine, e.g. `default/vllm-0`. */
  id: name,
  /** Where the relay reaches it. */
  address: hostPortSchema,
  engine: z.enum(ENGINE_TYPES),
  labels: z
    .record(name, z.string().max(PROTOCOL_LIMITS.labelCharsMax))
    .refine((labels) => Object.keys(labels).length <= PROTOCOL_LIMITS.labelsMax, "too many labels")
    .default({}),
});
export type EndpointRecord = z.output<typeof endpointSchema>;

/** Payload of a MEMBERSHIP frame: every endpoint of the pool, replacing what was said before. */
export const membershipSchema = z.strictObject({
  endpoints: z.array(endpointSchema).max(PROTOCOL_LIMITS.endpointsMax),
  /**
   * Attribute keys of the scalars in the rows that follow, in their order. Only to an object that
   * sent a specification: it tells rows of the specification before from those of the new one.
   */
  scalars: z.array(name).max(PROTOCOL_LIMITS.scalarsMax).optional(),
});

const nameIndexes = z
  .array(
    z
      .int()
      .min(0)
      .max(PROTOCOL_LIMITS.modelNamesMax - 1),
  )
  .max(PROTOCOL_LIMITS.modelsPerEndpointMax);

/**
 * Payload of a MODELS frame: what endpoints serve, complete for each endpoint in it. Names are said
 * once a frame. Only to an object that sent a specification.
 */
export const modelsSchema = z
  .strictObject({
    names: z.array(name).max(PROTOCOL_LIMITS.modelNamesMax),
    endpoints: z
      .array(
        z.strictObject({
          /** Index in the last MEMBERSHIP frame's endpoints. */
          endpoint: z.int().min(0),
          /** Absent where the engine has not named an adapter. */
          lora: z
            .strictObject({
              active: nameIndexes,
              waiting: nameIndexes,
              /** 0: unknown. */
              max: z.int().min(0).max(0xffff),
            })
            .optional(),
          /** From /v1/models; absent where it is not asked for, or was not answered. */
          models: nameIndexes.optional(),
        }),
      )
      .max(PROTOCOL_LIMITS.endpointsMax),
  })
  .refine(({ names, endpoints }) => {
    const isKnown = (index: number) => index < names.length;
    return endpoints.every(({ lora, models }) =>
      [lora?.active, lora?.waiting, models].every((indexes) => indexes?.every(isKnown) ?? true),
    );
  }, "a name is missing");
export type ModelsPayload = z.output<typeof modelsSchema>;

const ticketId = z.string().min(1).max(PROTOCOL_LIMITS.ticketCharsMax);

/** First message of every agent. */
export const helloSchema = z.strictObject({
  t: z.literal("hello"),
  v: z.int().min(PROTOCOL_VERSION_MIN).max(PROTOCOL_VERSION),
  role: z.enum(["collector", "relay"]),
  pool: name,
  /** The agent's own name, unique in the pool. */
  agent: name,
  /** Random at each start of the agent's process: with `seq` it orders everything the agent says. */
  epoch: name,
  /**
   * Which of the pool's objects this is for; the first one where absent. What passes it on may know nothing
   * of several: objects of before, of which there is one, refuse it.
   */
  shard: z.int().min(0).max(0xff).optional(),
});
export type Hello = z.output<typeof helloSchema>;

/**
 * A field and, per engine type, its sources in order of preference; the first present one wins.
 * Open in both, so that an older agent reads what a newer object adds, or leaves it out.
 */
const metricSpecSchema = z.object({
  field: name,
  sources: z.record(name, z.array(metricSourceSchema).min(1)),
});
export type MetricSpec = z.output<typeof metricSpecSchema>;

/** Object to agent: accepted. */
const welcomeSchema = z.object({
  t: z.literal("welcome"),
  v: z.int(),
  /** Random at each construction of the object; a change means its memory is gone. */
  objectEpoch: name,
  /** Highest `seq` of this agent's epoch that the object holds durably; 0 if none. */
  ackedSeq: z.number().nonnegative(),
  /** Since version 2: the number up to which this epoch's reports are durable; 0 if none is. */
  ackedReport: z.number().nonnegative().optional(),
});

/** See ShardMap in scheduler/shards/contracts.ts; `index` is the object's own number. */
const shardMapSchema = z.object({
  index: z.int().min(0),
  count: z.int().min(1),
  version: z.number().nonnegative(),
  splits: z.array(z.tuple([z.number(), z.number(), z.int().min(0)])),
});

/**
 * Object to agent: for collectors what to read and how often, for relays what to tell. Sent after
 * `welcome` and on every change.
 */
const configureSchema = z.object({
  t: z.literal("configure"),
  scrapeIntervalMs: z.number().min(50).max(60_000),
  /** Row order: bit i of a METRICS row's mask is `metrics[i]`. */
  metrics: z.array(metricSpecSchema).max(PROTOCOL_LIMITS.metricFieldsMax),
  /**
   * Counts instead of `metrics` where the agent can read it. An agent that was given one may send
   * MODELS frames and what else is said to need it.
   */
  specification: metricsSpecificationSchema.optional().catch(undefined),
  /**
   * The relay is to tell in STARTED frames which answers have begun: they cost a message a request,
   * and only a pool that ends requests for others needs them. Absent: no, as of objects of before.
   */
  reportsFirstByte: z.boolean().optional(),
  /** The relay is to report prefills, and what became of them. Absent: no, as of objects of before. */
  reportsStages: z.boolean().optional(),
  /**
   * The object takes KV frames: bytes of them that may be under way, sent and not covered by a
   * `kv-credit`. Absent: it takes none, as objects of before.
   */
  kvWindowBytes: z.int().positive().optional(),
  /** Sections of KV frames are to say the ends of content. Absent: no, as objects of before. */
  kvTokenEnds: z.boolean().optional(),
  /** The object takes RESOURCES frames. Absent: no, as of objects of before. */
  takesResources: z.boolean().optional(),
  /** How the pool is spread over objects, of which this is one. Absent: it is the only one. */
  shards: shardMapSchema.optional().catch(undefined),
});
export type Configure = z.output<typeof configureSchema>;

/**
 * Object to agent: what may leave the outbox. In version 1 every frame up to `seq`; since version 2
 * every report up to number `report`, and `seq` says only which frame was the last one heard.
 */
const ackSchema = z.object({
  t: z.literal("ack"),
  seq: z.number().nonnegative(),
  report: z.number().nonnegative().optional(),
});

/** Object to agent: send everything again (membership, all metrics, all open tickets). */
const resyncSchema = z.object({ t: z.literal("resync"), reason: z.string() });

/**
 * Object to relay: end the request, which nobody has seen a byte of yet, because one of a higher
 * priority needs its room. One whose answer has begun goes on. Agents that do not know it ignore it.
 */
const evictSchema = z.object({
  t: z.literal("evict"),
  ticket: ticketId,
  attempt: z.int().nonnegative(),
  /** When its client may come again; 0 if that is not known. */
  retryAfterMs: z.number().nonnegative(),
});
export type Evict = z.output<typeof evictSchema>;

const kvStream = z.int().min(0).max(0xffff_ffff);

/**
 * Object to collector: send what these endpoints hold, each on this stream and from its beginning. An
 * endpoint that was sent on another stream is sent on this one instead. Those that the collector has
 * not offered, or no longer has, it leaves out.
 */
const kvSendSchema = z.object({
  t: z.literal("kv-send"),
  streams: z
    .array(z.object({ endpoint: name, stream: kvStream }))
    .max(PROTOCOL_LIMITS.kvStreamsMax),
});

/** Object to collector: send no more on these streams. */
const kvStopSchema = z.object({
  t: z.literal("kv-stop"),
  streams: z.array(kvStream).max(PROTOCOL_LIMITS.kvStreamsMax),
});

/** Object to collector: frames up to `seq` are no longer under way. */
const kvCreditSchema = z.object({ t: z.literal("kv-credit"), seq: z.number().nonnegative() });

/** Object to agent, before it closes the socket. */
const refusedSchema = z.object({
  t: z.literal("refused"),
  code: z.enum(["bad-hello", "unsupported-version", "wrong-pool", "protocol-error"]),
  message: z.string(),
});

/** What an agent may receive. Unknown keys are kept out, unknown `t` is ignored by the agent. */
export const fromObjectSchema = z.discriminatedUnion("t", [
  welcomeSchema,
  configureSchema,
  ackSchema,
  resyncSchema,
  evictSchema,
  kvSendSchema,
  kvStopSchema,
  kvCreditSchema,
  refusedSchema,
]);
export type FromObject = z.output<typeof fromObjectSchema>;
/** What the object says of KV streams. */
export type KvMessage = Extract<FromObject, { t: "kv-send" | "kv-stop" | "kv-credit" }>;

/**
 * Whose request a ticket is for: with it, an object that lost its memory knows the ticket again.
 * Since version 2; an object of version 1 refuses it. Empty where the relay does not know.
 */
const ticketSubject = {
  requestId: z.string().max(PROTOCOL_LIMITS.requestIdCharsMax).optional(),
  tenant: z.string().max(PROTOCOL_LIMITS.labelCharsMax).optional(),
  model: z.string().max(PROTOCOL_LIMITS.labelCharsMax).optional(),
};
const tokens = z.int().nonnegative().nullable();

/** The relay has taken a ticket over: from here on it owns it and will report its end. */
const ticketOpenedSchema = z.strictObject({
  kind: z.literal("opened"),
  ticket: ticketId,
  attempt: z.int().nonnegative(),
  /** Address of the endpoint being tried. */
  endpoint: hostPortSchema,
  ...ticketSubject,
});

/** How a request ended, as its relay saw it. Closed set. */
export const CLOSED_OUTCOMES = [
  "ok",
  "engine-error",
  "unreachable",
  "cancelled",
  "broken-stream",
] as const;

/** A ticket's end as the relay saw it. */
const ticketClosedSchema = z.strictObject({
  kind: z.literal("closed"),
  ticket: ticketId,
  attempt: z.int().nonnegative(),
  /** Address of the endpoint that answered, or was tried last. */
  endpoint: hostPortSchema,
  outcome: z.enum(CLOSED_OUTCOMES),
  /** HTTP status of the engine's answer; null if none came. */
  status: z.int().nullable(),
  /** Request received to first body byte, and to the end, on the relay's clock. */
  ttftMs: z.number().nonnegative().nullable(),
  durationMs: z.number().nonnegative(),
  promptTokens: tokens,
  cachedTokens: tokens,
  completionTokens: tokens,
  finishReason: z.string().max(64).nullable(),
  /** Endpoints that were tried and failed before `endpoint`, in order. */
  failed: z.array(hostPortSchema).max(PROTOCOL_LIMITS.destinationsMax),
  /**
   * Where prefill ran apart; then `cachedTokens` are the prefiller's. Only to an object that said
   * `reportsStages`, as `prefilled` reports are.
   */
  stages: closedStagesSchema.optional(),
  ...ticketSubject,
});
const ticketReportSchema = z.discriminatedUnion("kind", [
  ticketOpenedSchema,
  ticketPrefilledSchema,
  ticketClosedSchema,
]);
export type TicketReport = z.output<typeof ticketReportSchema>;
export type TicketOpened = z.output<typeof ticketOpenedSchema>;
export type TicketPrefilled = z.output<typeof ticketPrefilledSchema>;
export type TicketClosed = z.output<typeof ticketClosedSchema>;

const reports = z.array(ticketReportSchema).max(PROTOCOL_LIMITS.ticketReportsMax);

/** Payload of a TICKETS frame of version 1. */
export const ticketReportsSchema = z.strictObject({ reports });

/**
 * Payload of a TICKETS frame since version 2. A relay numbers its reports from 1 in each epoch and
 * keeps them until they are durable: those in a frame are `first`, `first + 1` and so on. Said
 * again, a report has the number it had, so that the object applies each once.
 */
export const numberedReportsSchema = z
  .strictObject({
    /** The lowest number the relay still holds: what is below is durable or was given up. */
    oldest: z.int().min(1),
    first: z.int().min(1),
    reports,
  })
  .refine(({ oldest, first }) => oldest <= first, "oldest is above first");
export type NumberedReports = z.output<typeof numberedReportsSchema>;

/** Why a mark was set; `answered` takes it back. Closed set; also a metric label. */
export const MARK_REASONS = ["refused", "reset", "timeout", "unavailable", "answered"] as const;

const markSchema = z.strictObject({
  endpoint: hostPortSchema,
  /** How long to keep away from it, from now; 0 takes an earlier mark back. */
  leaseMs: z.int().min(0).max(PROTOCOL_LIMITS.markLeaseMsMax),
  why: z.enum(MARK_REASONS),
});
export type Mark = z.output<typeof markSchema>;

/** Payload of a MARKS frame: what a relay has just seen of endpoints. Never kept for later. */
export const marksSchema = z.strictObject({
  marks: z.array(markSchema).max(PROTOCOL_LIMITS.marksMax),
});

const startedTicketSchema = z.strictObject({ ticket: ticketId, attempt: z.int().nonnegative() });
export type StartedTicket = z.output<typeof startedTicketSchema>;

/**
 * Payload of a STARTED frame: requests whose answers have begun towards the Worker, so that nobody
 * may end them any more. Never kept for later. Only to an object that said `reportsFirstByte`.
 */
export const startedSchema = z.strictObject({
  tickets: z.array(startedTicketSchema).max(PROTOCOL_LIMITS.startedTicketsMax),
});

const endpointIndexes = z
  .array(
    z
      .int()
      .min(0)
      .max(PROTOCOL_LIMITS.endpointsMax - 1),
  )
  .max(PROTOCOL_LIMITS.endpointsMax);

/**
 * Payload of a KV_OFFER frame: the endpoints whose KV caches the collector follows, by their places in
 * the last MEMBERSHIP, replacing what was offered before. Of `whole` ones it knows everything they hold;
 * of `partial` ones what it says is true and something may be missing.
 */
export const kvOfferSchema = z.strictObject({ whole: endpointIndexes, partial: endpointIndexes });
export type KvOffer = z.output<typeof kvOfferSchema>;
