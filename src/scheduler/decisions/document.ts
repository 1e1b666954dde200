// The document that explain.ts writes and others read.
//
// Documents are kept in files. Fields are only ever added, as optional ones: an older document is
// still read, and an older CLI reads a newer document.

import { z } from "zod";
import type { SchedulerConfig } from "../config/scheduler-config.ts";
import { DECISION_LIMITS, STAGE_ROLES } from "./record.ts";
import { CONTENT_KEYS_MAX } from "../kv/content-keys.ts";
import { ENDPOINTS_MAX } from "../model/endpoint-table.ts";

const role = z.enum(STAGE_ROLES);

/** What one profile made of a candidate. */
const rowSchema = z.object({
  id: z.string(),
  /** 1 is the first choice; null for a candidate that was left out. */
  rank: z.int().nullable(),
  total: z.number().nullable(),
  /** By the scorer's name, before weighting; null where not scored. */
  scores: z.record(z.string(), z.number().nullable()),
  /** By the scorer's name: what its score was made of, by term. */
  terms: z.record(z.string(), z.record(z.string(), z.number().nullable())).optional(),
  why: z.string(),
  /** Name of the filter that removed it. */
  removedBy: z.string().nullable().optional(),
});

const candidateSchema = rowSchema.extend({
  address: z.string(),
  queueDepth: z.number(),
  runningRequests: z.number(),
  kvUsage: z.number(),
  inFlightRequests: z.number(),
  inFlightTokens: z.number(),
  matchedBlocks: z.number(),
  /** Age of the load sample at the decision; null if there never was one, or by design is none. */
  ageMs: z.number().nullable(),
  slot: z
    .int()
    .min(0)
    .max(ENDPOINTS_MAX - 1)
    .optional(),
  /** Name of the screener that refused it, before any profile ran. */
  screenedBy: z.string().nullable().optional(),
  /** Others were likelier to send there; see PickInput. Absent: not. */
  isSpared: z.literal(true).optional(),
  /** All that a plugin could read of it, exactly; null for a time that never was. */
  columns: z.record(z.string(), z.number().nullable()).optional(),
  /** matchedBlocks, each times the weight of its tier. */
  weightedBlocks: z.number().optional(),
  engine: z.string().optional(),
  labels: z.record(z.string(), z.string()).optional(),
  /** LoRA adapters: where the request's model is among them, and how many there are. */
  adapters: z
    .object({
      state: z.enum(["active", "waiting", "absent"]),
      active: z.number(),
      waiting: z.number(),
    })
    .optional(),
});

/** A plugin's type, and its name where that differs. */
const label = { type: z.string(), name: z.string().optional() };
const filters = z.array(z.object({ ...label, removed: z.number() }));
const scorers = z.array(z.object({ ...label, weight: z.number() }));

const stageSchema = z.object({
  profile: z.string(),
  role,
  filters,
  scorers,
  /** One each of the attempt's candidates. */
  candidates: z.array(rowSchema),
  chosen: z.array(z.string()),
});

const queueSchema = z.object({
  /** 0: it did not wait. */
  waitedMs: z.number(),
  /** Of the band it was in. */
  priority: z.number(),
  fairnessId: z.string(),
  /** Of the pool at the end of the wait; null where that is not known. */
  saturation: z.number().nullable(),
});

/** Where an attempt was decided: numbers are null where there was none. */
const whereSchema = z.object({
  where: z.enum(["local", "consult"]),
  /** A WhereReason, perhaps of a newer release. */
  reason: z.string(),
  rttMs: z.number().nullable(),
  snapshotAgeMs: z.number().nullable(),
  credit: z.number().nullable(),
  saturation: z.number().nullable(),
  knownTokens: z.number().nullable(),
  possibleTokens: z.number().nullable(),
  gainMs: z.number().nullable(),
});

const attemptSchema = z.object({
  attempt: z.int(),
  atMs: z.number(),
  model: z.string(),
  tenant: z.string(),
  priority: z.number(),
  promptTokens: z.number(),
  totalBlocks: z.int().min(0).max(CONTENT_KEYS_MAX),
  configVersion: z.number(),
  seed: z.number(),
  staleAfterMs: z.number(),
  /** The scheduling profile that is shown; absent where none ran. */
  profile: z.string().optional(),
  role: role.optional(),
  filters,
  scorers,
  candidateCount: z.number(),
  /** All, or the best DECISION_LIMITS.candidatesMax of them. */
  candidates: z.array(candidateSchema),
  /** Addresses in the order to try; empty when the request was refused. */
  chosen: z.array(z.string()),
  dropped: z.object({ reason: z.string(), detail: z.string() }).nullable(),
  result: z
    .object({
      endpoint: z.string(),
      outcome: z.string(),
      ttftMs: z.number().nullable(),
      promptTokens: z.number().nullable(),
      cachedTokens: z.number().nullable(),
      completionTokens: z.number().nullable(),
      /** Tokens that were believed to be cached, where that was known exactly; absent from releases of before. */
      predictedTokens: z.number().nullable().optional(),
      /** What became of a prefill that ran apart. */
      prefill: z
        .object({
          endpoint: z.string().nullable(),
          outcome: z.string(),
          prefillMs: z.number(),
          failedCount: z.number(),
          isDecodeOnly: z.boolean(),
          isStranded: z.boolean(),
        })
        .optional(),
    })
    .nullable(),
  /** What deciders said, in the order they were asked, and in which numbers; null: nothing to say. */
  verdicts: z
    .array(
      z.object({
        stage: z.enum(["prefill", "encode"]),
        isApart: z.boolean(),
        terms: z.record(z.string(), z.number().nullable()),
      }),
    )
    .optional(),
  /** Address of the endpoint whose KV blocks could be copied. */
  kvSource: z.string().optional(),
  /** At the edge or by the pool's object, and why there; absent from releases of before. */
  decided: whereSchema.optional(),
  /** How it came through the pool's queue, or was refused there; absent without flow control. */
  queue: queueSchema.optional(),
  outputTokensMax: z.number().nullable().optional(),
  bodyBytes: z.number().optional(),
  ttftSloMs: z.number().nullable().optional(),
  tpotSloMs: z.number().nullable().optional(),
  /** Ids of endpoints that had failed for this request and were not considered. */
  excluded: z.array(z.string()).optional(),
  /** Content keys of blocks 0, keyStride, 2 × keyStride, … in hexadecimal. */
  keys: z
    .array(z.string().regex(/^[0-9a-f]{16}$/, "expected 16 hexadecimal digits"))
    .max(DECISION_LIMITS.keysMax)
    .optional(),
  keyStride: z.int().min(1).optional(),
  /** Profiles in the order they ran. */
  ran: z.array(z.string()).optional(),
  /** Those besides `profile`. */
  stages: z.array(stageSchema).optional(),
  /** What the pool's shadow configuration would have done: an address, or a reason to refuse. */
  shadow: z.object({ chosen: z.string().nullable(), dropped: z.string().nullable() }).optional(),
  /** What decided. Not parsed here: a newer deployment may have plugins this code does not know. */
  scheduler: z.unknown().optional(),
});

/** One of the pools that came into question, as the Worker that chose saw it. */
export const poolSchema = z.object({
  pool: z.string(),
  /** 0 is the best. */
  tier: z.number(),
  state: z.string(),
  /** Parts of its cost in milliseconds; null for what was not known. */
  terms: z.record(z.string(), z.number().nullable()),
  costMs: z.number().nullable(),
});

export const explanationSchema = z.object({
  requestId: z.string(),
  pool: z.string(),
  attempts: z.array(attemptSchema),
  /** Best first; absent where no other pool came into question. */
  pools: z.array(poolSchema).optional(),
});
/** An explanation as it was read: what its writer did not know is absent. */
export type ExplanationDocument = z.output<typeof explanationSchema>;
export type ExplainedAttempt = ExplanationDocument["attempts"][number];
export type ExplainedCandidate = ExplainedAttempt["candidates"][number];
export type ExplainedStage = z.output<typeof stageSchema>;
export type ExplainedQueue = z.output<typeof queueSchema>;
export type ExplainedWhere = z.output<typeof whereSchema>;
export type ExplainedPool = z.output<typeof poolSchema>;
export type ExplainedRow = z.output<typeof rowSchema>;

/** An attempt as this code writes it. */
export type WrittenAttempt = Omit<ExplainedAttempt, "scheduler"> & {
  readonly scheduler: SchedulerConfig;
};
/**
 * An attempt without candidates, so no scheduler is told: it was refused in the queue, or an isolate has decided on it
 * and has not kept a record.
 */
export type BareAttempt = Omit<ExplainedAttempt, "scheduler">;
export interface Explanation<Attempt = WrittenAttempt | BareAttempt> {
  readonly requestId: string;
  readonly pool: string;
  readonly attempts: readonly Attempt[];
  readonly pools?: readonly ExplainedPool[];
}

/** Of an attempt whose candidates are not on record. */
export const NOBODY_SEEN = {
  seed: 0,
  staleAfterMs: 0,
  filters: [],
  scorers: [],
  candidateCount: 0,
  candidates: [],
} satisfies Partial<BareAttempt>;

/** Whether it was decided at the edge, and the other candidates are not on record. */
export function isUnrecorded({ candidateCount, decided }: ExplainedAttempt): boolean {
  return candidateCount === 0 && decided?.where === "local";
}

/** Whether it was refused in the queue: every decision has candidates. */
export function isQueueRefusal({ candidateCount, dropped, queue }: ExplainedAttempt): boolean {
  return candidateCount === 0 && dropped !== null && queue !== undefined;
}

/** What a plugin is called. */
export function nameOf({
  name,
  type,
}: {
  readonly name?: string | undefined;
  readonly type: string;
}) {
  return name ?? type;
}
