// Recorded decisions of a pool, from a deployment or from a file.

import { readFile, stat } from "node:fs/promises";
import { z } from "zod";
import {
  type ParsedScheduler,
  parseReplayable,
  parseScheduler,
  type ReplayableAttempt,
} from "../../scheduler/decisions/replay-document.ts";
import { type AdminClient, errorMessage } from "../admin-client.ts";
import { type AnsweredShards, shardsSchema } from "../answered-shards.ts";
import { CliError, describeError } from "../cli-error.ts";

export const FILE_BYTES_MAX = 512 * 1024 * 1024;
/** Decisions in a page, at most. Of those with candidates there are fewer. */
const PAGE = 256;

export interface RecordedDecision {
  readonly requestId: string;
  readonly pool: string;
  /** undefined: this code cannot read it, for the deployment is older or newer; or it is not there. */
  readonly attempt: ReplayableAttempt | undefined;
  /** It was decided at the edge, and whom else it might have been sent to is not on record. */
  readonly isUnrecorded?: true;
}

/** How far back the records of a pool reach. */
export interface Reach {
  /** null: the pool has none. */
  oldestAtMs: number | null;
  /** The same of decisions at the edge. */
  oldestLocalAtMs: number | null;
  /** An object was away meanwhile, and its older records with it. */
  isCutShort: boolean;
  /** The last page that not every object of the pool had answered: its records are not among these. */
  shards?: AnsweredShards;
}

/** GET /admin/v1/pools/<pool>/decisions. What is in an attempt is checked where it is replayed. */
const pageSchema = z.object({
  objectEpoch: z.string(),
  oldestAtMs: z.number().nullable(),
  /** Absent from a deployment of the release before. */
  oldestLocalAtMs: z.number().nullable().optional(),
  /** A text of a pool of several objects. */
  next: z.union([z.number(), z.string()]).nullable(),
  schedulers: z.array(z.unknown()),
  shards: shardsSchema.optional(),
  decisions: z.array(
    z.object({ requestId: z.string(), attempt: z.looseObject({ scheduler: z.int().min(0) }) }),
  ),
});

/**
 * Decisions of the last `sinceS` seconds, newest first, a page at a time. Fills `reach` as it goes.
 * Undefined instead of a first page for a pool that the deployment does not have.
 */
export async function* readDecisions(
  client: AdminClient,
  query: { readonly pool: string; readonly sinceS: number },
  reach: Reach,
): AsyncGenerator<RecordedDecision> {
  const { pool, sinceS } = query;
  const parse = createSchedulerCache();
  let before = "";
  for (let epoch: string | undefined; ;) {
    const path = `/pools/${encodeURIComponent(pool)}/decisions?since=${sinceS}&limit=${PAGE}${before}`;
    const answer = await client.call({ method: "GET", path });
    if (answer.status !== 200) throw new CliError(`pool ${pool}: ${errorMessage(answer)}`);
    const page = pageSchema.safeParse(answer.body);
    if (!page.success)
      throw new CliError(
        "The answer could not be read: is this fairlead as new as the deployment?",
      );
    const { objectEpoch, oldestAtMs, oldestLocalAtMs, next, schedulers, shards, decisions } =
      page.data;
    if (shards !== undefined && shards.missing.length > 0) reach.shards = shards;
    reach.isCutShort = epoch !== undefined && epoch !== objectEpoch;
    if (reach.isCutShort) return;
    epoch = objectEpoch;
    reach.oldestAtMs = oldestAtMs;
    reach.oldestLocalAtMs = oldestLocalAtMs ?? null;
    for (const { requestId, attempt } of decisions) {
      const whole = { ...attempt, scheduler: schedulers[attempt.scheduler] };
      yield* replayables({ requestId, pool, attempts: [whole] }, parse);
    }
    if (next === null) return;
    before = `&before=${encodeURIComponent(next)}`;
  }
}

/** What `fairlead explain --json` printed: one document, or an array of them. */
export async function readExplanations(file: string): Promise<RecordedDecision[]> {
  const documents = await readJson(file);
  const parse = createSchedulerCache();
  return (Array.isArray(documents) ? documents : [documents]).flatMap((document, i) => {
    const decisions = [...replayables(document, parse)];
    if (decisions.length > 0) return decisions;
    throw new CliError(
      `${file}: [${i}] is not what \`fairlead explain REQUEST_ID --json\` prints.`,
    );
  });
}

const documentSchema = z.looseObject({
  requestId: z.string(),
  pool: z.string(),
  attempts: z.array(z.unknown()),
});

/** Each attempt of an explanation by itself, so that one that cannot be read leaves the others. */
function* replayables(
  document: unknown,
  parse: (input: unknown, at: string) => ParsedScheduler,
): Generator<RecordedDecision> {
  const read = documentSchema.safeParse(document);
  if (!read.success) return;
  const { requestId, pool, attempts } = read.data;
  for (const attempt of attempts) {
    const parsed = parseReplayable({ requestId, pool, attempts: [attempt] }, parse);
    if (parsed.ok) yield { requestId, pool, attempt: parsed.value.attempts[0] };
    else if (parsed.isUnrecorded === true)
      yield { requestId, pool, attempt: undefined, isUnrecorded: true };
    else yield { requestId, pool, attempt: undefined };
  }
}

/** Decisions share their schedulers: each is parsed once. */
function createSchedulerCache(): (input: unknown, at: string) => ParsedScheduler {
  const known = new Map<string, ParsedScheduler>();
  const texts = new WeakMap<object, string>();
  return (input, at) => {
    const isObject = typeof input === "object" && input !== null;
    const text = (isObject ? texts.get(input) : undefined) ?? JSON.stringify(input) ?? "";
    if (isObject) texts.set(input, text);
    let parsed = known.get(text);
    if (parsed === undefined) known.set(text, (parsed = parseScheduler(input, at)));
    return parsed;
  };
}

async function readJson(file: string): Promise<unknown> {
  try {
    const { size } = await stat(file);
    if (size > FILE_BYTES_MAX)
      throw new CliError(`${file} has more than ${FILE_BYTES_MAX / 1024 / 1024} MiB.`);
    return JSON.parse(await readFile(file, "utf8"));
  } catch (error) {
    if (error instanceof CliError) throw error;
    throw new CliError(`Cannot read ${file}: ${describeError(error)}.`);
  }
}
